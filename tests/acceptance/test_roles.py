"""What neurons do, from the ingest to SQL: numbers at their neuron, models that have less, neurons that are asked for."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from catalog.errors import InputError, NotFoundError
from catalog.server.engine import writer_engine
from catalog.verify.checks import checks, verify
from ingest.asked.intervene import intervene
from ingest.asked.settings import InterveneSettings
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.progress import Silent
from ingest.roles.head_scores import bos_keys
from tests.acceptance.ingests import rows
from tests.acceptance.role_models import (
    CONTEXT,
    D_MLP,
    NAMES,
    TOKENS,
    ask,
    make_corpus,
    make_models,
    opened,
    publish_models,
    read_corpus,
)
from tests.candidates import CANDIDATE
from tests.commands import Answer, run_catalog, use_published_family

settings = use_published_family

catalog = run_catalog

models = make_models

corpus = make_corpus

url = publish_models


def flat(layer: int, neuron: int) -> int:
    return layer * D_MLP + neuron


@pytest.mark.parametrize("name", NAMES)
def test_effects_and_similar_neurons_stand_at_their_neuron(url: str, models: dict[str, Path], name: str) -> None:
    weights = opened(models[name]).weights
    n_tokens = rows(url, "SELECT max(vocab_n) FROM neuron_profiles WHERE model = :name", name=name)[0][0]
    writes, reads = weights.W_out.flatten(0, 1).double(), weights.W_in.transpose(1, 2).flatten(0, 1).double()
    effects = writes @ weights.W_U[:, :n_tokens].double()
    found = rows(
        url,
        "SELECT layer, neuron, mean_in, mean_out, n_in, n_out FROM neuron_logit_explanations WHERE model = :name",
        name=name,
    )
    assert len(found) == 5 * len(writes)
    for layer, neuron, mean_in, mean_out, n_in, n_out in found:
        own = effects[flat(layer, neuron)]
        assert n_in + n_out == n_tokens
        assert n_in * mean_in + n_out * mean_out == pytest.approx(float(own.sum()), abs=1e-4)
    for kind, vectors in (("w_out", writes), ("w_in", reads)):
        units = vectors / vectors.norm(dim=1, keepdim=True)
        cosines = (units @ units.T).fill_diagonal_(math.nan)
        statement = """SELECT layer, neuron, other_layer, other_neuron, cosine, opposite, rank FROM neuron_similarities
                       WHERE model = :name AND kind = :kind"""
        listed = rows(url, statement, name=name, kind=kind)
        assert len(listed) == 2 * min(20, len(units) - 1) * len(units)
        for layer, neuron, other_layer, other_neuron, cosine, opposite, rank in listed:
            own = cosines[flat(layer, neuron)]
            assert cosine == pytest.approx(float(own[flat(other_layer, other_neuron)]), abs=1e-5)
            ranked = own[~own.isnan()].sort(descending=not opposite).values
            assert cosine == pytest.approx(float(ranked[rank - 1]), abs=1e-5)


def test_heads_stand_at_their_neuron(url: str, models: dict[str, Path]) -> None:
    checkpoint = opened(models["serial"])
    weights, bos = checkpoint.weights, tokenizer_identity(checkpoint.tokenizer).bos_id
    keys = bos_keys(checkpoint, bos)
    units = weights.W_out.flatten(0, 1).double()
    units /= units.norm(dim=1, keepdim=True)
    found = rows(
        url, "SELECT layer, neuron, head_layer, head, h, h_scaled, h_sd FROM neuron_head_scores WHERE model = 'serial'"
    )
    assert {row[2] for row in found} == {1, 2}
    for layer, neuron, head_layer, head, h, h_scaled, h_sd in found:
        reads = weights.W_Q[head_layer, head].double() @ keys[head_layer, head] / checkpoint.d_head**0.5
        expected = float(units[flat(layer, neuron)] @ reads)
        assert (h, h_scaled) == (pytest.approx(expected, abs=1e-5), pytest.approx(expected / (head_layer + 1), abs=1e-5))
        assert layer < head_layer and h_sd is None
    composed = rows(
        url, "SELECT layer, neuron, head_layer, head, q, k, v, o FROM neuron_head_compositions WHERE model = 'serial'"
    )
    assert len(composed) == 3 * D_MLP * 3 * 2
    w_q, w_k = weights.W_Q[2, 1].double(), weights.W_K[2, 1].double()
    product = w_q @ w_k.T
    (q, k) = next((row[4], row[5]) for row in composed if row[:4] == (0, 5, 2, 1))
    own = units[flat(0, 5)]
    assert q == pytest.approx(float((own @ product).norm() / product.norm()), abs=1e-5)
    assert k == pytest.approx(float((product @ own).norm() / product.norm()), abs=1e-5)


def test_rotary_and_parallel_models_have_their_own_heads(url: str) -> None:
    spread = rows(url, "SELECT model, count(*), count(h_sd) FROM neuron_head_scores GROUP BY 1 ORDER BY 1")
    assert [(name, defined > 0) for name, _, defined in spread] == [("parallel", True), ("relu", False), ("serial", False)]
    # a parallel block's attention does not write what its own MLP reads
    statement = "SELECT DISTINCT model, layer, head_layer FROM neuron_head_compositions WHERE o IS NOT NULL"
    pairs = set(rows(url, statement))
    assert {(layer, head) for name, layer, head in pairs if name == "parallel"} == {(1, 0), (2, 0), (2, 1)}
    assert {(layer, head) for name, layer, head in pairs if name == "serial"} >= {(0, 0), (1, 1), (2, 2)}


def test_a_model_of_one_layer_has_no_heads_to_turn_and_the_families_were_looked_for(url: str) -> None:
    assert rows(url, "SELECT count(*) FROM neuron_head_scores WHERE model = 'shallow'") == [(0,)]
    assert rows(url, "SELECT count(*) FROM head_summaries WHERE model = 'shallow' AND bos_norm_ratio > 0") == [(2,)]
    families = "SELECT family, neurons FROM family_counts WHERE model = 'shallow' AND starts_with(family, 'attn_') ORDER BY 1"
    assert rows(url, families) == [("attn_activation", 0), ("attn_deactivation", 0)]


def test_chosen_pairs_are_ablated(url: str) -> None:
    statement = """SELECT model, count(DISTINCT (layer, neuron, head_layer, head)), count(*), min(n_tokens)
                   FROM neuron_path_ablations GROUP BY 1 ORDER BY 1"""
    for _, pairs, relations, n_tokens in rows(url, statement):
        assert pairs >= 4 and relations == 9 * pairs
        assert 0 < n_tokens <= TOKENS / 2
    extremes = """SELECT count(*) FROM (SELECT model, max(h) AS top, min(h) AS bottom FROM neuron_head_scores GROUP BY 1) e
                  JOIN neuron_head_scores s ON s.model = e.model AND s.h IN (e.top, e.bottom)
                  JOIN (SELECT DISTINCT model, layer, neuron, head_layer, head FROM neuron_path_ablations) p
                       USING (layer, neuron, head_layer, head) WHERE p.model = s.model"""
    assert rows(url, extremes) == [(6,)]


def plain_forward(checkpoint: Checkpoint, tokens: torch.Tensor, changes: dict[int, tuple[list[int], float]]) -> torch.Tensor:
    """Logits of the raw model, post of some neurons replaced at every position; float64 afterwards."""

    def replaced(indices: list[int], value: float) -> Callable[..., torch.Tensor]:
        def hook(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[..., indices] = value
            return output

        return hook

    modules = checkpoint.modules.activations
    handles = [modules[layer].register_forward_hook(replaced(*change)) for layer, change in changes.items()]
    try:
        with torch.inference_mode():
            return checkpoint.model(tokens).logits.double()
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", ["serial", "parallel"])
def test_what_is_asked_for_is_measured_stored_and_shown(url: str, models: dict[str, Path], corpus: Path, name: str) -> None:
    held = ((0, 3), (2, 5))
    found = intervene(ask(url, name, held, ((2, 7),), changes=(("fix", 2.0), ("zero", 0.0))), Silent()).frame()
    assert list(zip(found["neuron"], found["kind"], strict=True)) == [
        ("0.3", "fix"),
        ("0.3", "zero"),
        ("2.7", "fix"),
        ("2.7", "zero"),
    ]
    assert set(found["purpose"]) == {"asked"}
    checkpoint = opened(models[name])
    tokens = torch.from_numpy(np.asarray(read_corpus(models[name], corpus).tokens[: TOKENS // CONTEXT], dtype=np.int64))
    nominal = plain_forward(checkpoint, tokens, {})
    fixed = plain_forward(checkpoint, tokens, {0: ([3], 2.0), 2: ([5], 2.0)})
    entropies = [-(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)[:, 1:-1].mean().item() for logits in (nominal, fixed)]
    row = found.iloc[0]
    assert row["entropy"] == pytest.approx(entropies[1], abs=1e-5)
    assert row["delta_entropy"] == pytest.approx(entropies[1] - entropies[0], abs=1e-5)
    stored = """SELECT together, value, n_tokens FROM neuron_interventions WHERE model = :name AND layer = 0 AND neuron = 3
                AND purpose = 'asked' ORDER BY value"""
    kept = TOKENS // CONTEXT * (CONTEXT - 2)
    assert rows(url, stored, name=name) == [(["2.5"], 0.0, kept), (["2.5"], 2.0, kept)]
    again = intervene(ask(url, name, held, changes=(("fix", 2.0),)), Silent()).frame()
    assert again["entropy"][0] == row["entropy"] and len(rows(url, stored, name=name)) == 2


def test_candidates_are_held_at_every_value_and_have_controls_at_one(url: str) -> None:
    values = """SELECT neuron_id, array_agg(value ORDER BY value) FROM neuron_interventions WHERE purpose = 'candidate'
                GROUP BY neuron_id"""
    found = rows(url, values)
    assert [held for _, held in found] == [[-0.17, 0, 1, 2, 3, 4, 5, 6]] * 2
    places = "SELECT DISTINCT model, layer, neuron FROM neuron_interventions WHERE purpose = 'candidate'"
    assert set(rows(url, places)) == {("serial", 2, CANDIDATE), ("shallow", 0, CANDIDATE)}
    statement = """SELECT c.neuron_id, c.value, count(*), count(*) FILTER (WHERE o.layer = n.layer AND o.model_id = n.model_id)
                   FROM entropy_controls c JOIN neurons n ON n.id = c.neuron_id JOIN neurons o ON o.id = c.along_neuron_id
                   GROUP BY 1, 2"""
    controls = rows(url, statement)
    assert [row[1:] for row in controls] == [(6, D_MLP, D_MLP)] * 2
    itself = """SELECT i.entropy_delta, c.entropy_delta, i.scale_delta, c.scale_delta, i.n_tokens = c.n_tokens
                FROM interventions i
                JOIN entropy_controls c ON (c.run_id, c.neuron_id, c.value) = (i.run_id, i.neuron_id, i.value)
                WHERE c.along_neuron_id = c.neuron_id AND i.purpose = 'candidate'"""
    for entropy, beside, scale, scale_beside, on_the_same in rows(url, itself):
        assert on_the_same and (beside, scale_beside) == (pytest.approx(entropy, abs=1e-6), pytest.approx(scale, abs=1e-6))


def test_a_run_with_roles_is_as_it_was_published(url: str) -> None:
    engine = writer_engine(url)
    differing = [finding for finding in verify(engine, 1) if finding.status != "ok"]
    engine.dispose()
    assert differing == []


FIRST = "ctid = (SELECT ctid FROM {} WHERE {} LIMIT 1)"

BROKEN = [
    (f"DELETE FROM similar_neurons WHERE {FIRST.format('similar_neurons', 'rank = 2')}",
     "similar neurons are of the same model"),
    (f"UPDATE similar_neurons SET cosine = 0 WHERE {FIRST.format('similar_neurons', 'rank = 1 AND NOT opposite')}",
     "similar neurons are of the same model"),
    (f"UPDATE similar_neurons SET mutual = NOT mutual WHERE {FIRST.format('similar_neurons', 'rank = 1')}",
     "mutual says whose"),
    (f"DELETE FROM ablation_relations WHERE {FIRST.format('ablation_relations', 'true')}", "every ablated pair has all"),
    ("""DELETE FROM interventions WHERE value = 5 AND neuron_id =
          (SELECT min(neuron_id) FROM interventions WHERE purpose = 'candidate')""",
     "every candidate is held"),
    ("""DELETE FROM entropy_controls WHERE along_neuron_id = neuron_id
           AND neuron_id = (SELECT min(neuron_id) FROM entropy_controls)""",
     "controls are along neurons"),
    ("UPDATE logit_explanations SET neuron_id = (SELECT max(id) + 1 FROM neurons) WHERE rank = 1 AND neuron_id = 1",
     "logit_explanations has rows of neurons of the run only"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "rule"), BROKEN, ids=[rule for _, rule in BROKEN])
def test_what_is_against_a_rule_is_found(url: str, change: str, rule: str) -> None:
    engine = writer_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no key stands in the way
        assert connection.exec_driver_sql(change).rowcount > 0
        found = [finding.subject for finding in checks(connection, 1) if finding.status == "differs"]
        assert any(subject.startswith(rule) for subject in found), found
        connection.rollback()
    engine.dispose()


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        ({"model": "nobody"}, NotFoundError, "there is no model 'nobody'; the catalog has parallel, relu, serial, shallow"),
        ({"neurons": (((3, 0),),)}, NotFoundError, "serial has no neuron 3.0; its layers are 0 to 2, its neurons 0 to 23"),
        ({"neurons": (((0, 24),),)}, NotFoundError, "serial has no neuron 0.24"),
        ({"changes": (("fix", math.inf),)}, InputError, "cannot take the value inf; give a finite number"),
        ({"neurons": (((0, 1), (0, 1)),)}, InputError, "each neuron once"),
        ({"tokens": 0}, InputError, "--tokens 0 is too small"),
        ({"run": 9}, NotFoundError, "there is no published run 9"),
    ],
)
def test_what_cannot_be_held_is_said_in_a_sentence(
    url: str, asked: dict[str, object], error: type[Exception], sentence: str
) -> None:
    before = rows(url, "SELECT count(*) FROM interventions")
    settings = {"model": "serial", "neurons": (((0, 1),),), "changes": (("fix", 1.0),), **asked}
    with pytest.raises(error, match=sentence):
        intervene(InterveneSettings(database_url=url, device="cpu", **settings), Silent())  # type: ignore[arg-type]
    assert rows(url, "SELECT count(*) FROM interventions") == before


def test_the_command_prints_rows_and_a_page_shows_the_roles(
    settings: pytest.MonkeyPatch, catalog: Callable[..., Answer], url: str
) -> None:
    settings.setenv("CATALOG_DATABASE_URL", url)
    answer = catalog(
        "intervene", "shallow", "0.4,0.5", "0.6", "--fix", "-0.17,6", "--tokens", str(TOKENS), "--device", "cpu",
        "--format", "json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert [(row["neuron"], row["value"]) for row in answer.rows] == [("0.4", -0.17), ("0.4", 6), ("0.6", -0.17), ("0.6", 6)]
    page = catalog("show", "shallow", "0.6").out
    assert "Predictions when it is held at a value" in page and "Neurons of the model with the most similar" in page
    for arguments, sentence in (
        (["0.4", "--fix", "nan"], "--fix 'nan' is no finite number"),
        (["0.4", "--multiply", "two"], "--multiply 'two' is no finite number"),
        (["0.4;0.5", "--zero"], "'0.4;0.5' is no LAYER.INDEX"),
    ):
        refused = catalog("intervene", "shallow", *arguments)
        assert refused.code == 1 and refused.err.startswith(f"error: {sentence}") and refused.err.count("\n") == 1
