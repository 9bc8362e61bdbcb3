"""A copied neuron stands in for its original in full, an unrelated one not at all: read by SQL, recomputed in float64."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from catalog.errors import InputError
from catalog.verify.checks import verify
from ingest.corpus.meta import BLOCKS_FILE, TOKENS_FILE
from tests.acceptance.ingests import rows, run_ingest
from tests.conftest import database
from tests.factories import load_raw
from tests.planted_substitutes import (
    CONTEXT,
    COPIED,
    COPY,
    LONELY,
    SCALE,
    SHIFT,
    PlantedSubstitutes,
    planted_substitutes,
)
from tests.substituted import Reference

TOKENS = 12_000
READ = {"substitution_tokens": TOKENS, "only": ("activations", "correlations", "substitution")}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedSubstitutes:
    return planted_substitutes(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATALOG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def published(server: URL, template: str, planted: PlantedSubstitutes, home: Path) -> Iterator[str]:
    with database(server, template) as url:
        run_ingest(url, [planted.a, planted.b], planted.corpus, **READ)
        yield url


STAND_INS = """SELECT kind, other_model, other_layer, other_neuron, alpha, beta, ablated_loss_delta, ablated_loss_delta_se,
                      loss_delta, restored, restored_se
                 FROM neuron_substitutions WHERE model = :model AND layer = 0 AND neuron = :neuron"""


def test_a_copy_restores_everything_and_others_nothing(published: str, planted: PlantedSubstitutes) -> None:
    found = {row[0]: row for row in rows(published, STAND_INS, model=planted.a.name, neuron=COPIED)}
    assert set(found) == {"match", "second", "random", "token_mean"}
    _, other_model, *place, alpha, beta, ablated, ablated_se, _, restored, restored_se = found["match"]
    assert (other_model, place) == (planted.b.name, [0, COPY])
    assert (alpha, beta) == pytest.approx((-SHIFT / SCALE, 1 / SCALE), abs=1e-5)
    assert ablated > 10 * ablated_se and restored == pytest.approx(1, abs=0.01) and restored_se < 0.005
    for kind in ("second", "random"):
        assert abs(found[kind][-2]) < 1.96 * found[kind][-1] < 0.02


def test_nothing_stands_in_for_a_neuron_that_has_no_match(published: str, planted: PlantedSubstitutes) -> None:
    found = {row[0]: row for row in rows(published, STAND_INS, model=planted.a.name, neuron=LONELY)}
    for kind in ("second", "random"):
        _, _, layer, other, _, _, ablated, ablated_se, _, restored, restored_se = found[kind]
        assert layer == 0 and other != COPY and ablated > 10 * ablated_se, "it reads the position"
        assert abs(restored) < 1.96 * restored_se < 0.02, f"{kind}: {restored} ± {restored_se}"
    assert abs(found["match"][-2]) < 0.01, "what reads tokens may be uncorrelated with it, but is not independent"
    assert found["token_mean"][-2] == pytest.approx(1, abs=0.05), "it reads nothing but the token"


def test_matches_say_what_they_restore(published: str, planted: PlantedSubstitutes) -> None:
    found = rows(
        published,
        """SELECT m.rank, m.correlation, m.restored, s.restored, m.restored_se, s.restored_se
             FROM neuron_matches m LEFT JOIN neuron_substitutions s USING (run_id, neuron_id, other_neuron_id)
            WHERE m.model = :model AND m.layer = 0 AND m.neuron = :neuron ORDER BY m.rank""",
        model=planted.a.name,
        neuron=COPIED,
    )
    assert found[0][1] == pytest.approx(1, abs=1e-5)
    for rank, _, restored, by_name, restored_se, se_by_name in found:
        assert (restored, restored_se) == ((by_name, se_by_name) if rank <= 2 else (None, None))


def test_groups_are_ratios_of_sums(published: str, planted: PlantedSubstitutes) -> None:
    of_neurons = rows(
        published,
        """SELECT u.universal, s.kind, r.blocks, s.blocks, s.fit_se, r.block_tokens
             FROM substitutions s JOIN replaced_neurons r USING (run_id, neuron_id)
             JOIN universality u USING (run_id, neuron_id) JOIN models m ON m.id = u.model_id WHERE m.name = :model
            UNION ALL
           SELECT u.universal, 'token_mean', r.blocks, r.token_blocks, 0, r.block_tokens
             FROM replaced_neurons r JOIN universality u USING (run_id, neuron_id) JOIN models m ON m.id = u.model_id
            WHERE m.name = :model""",
        model=planted.a.name,
    )
    groups: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray, float]]] = {}
    for universal, kind, ablated, changed, fit, _ in of_neurons:
        groups.setdefault((universal, kind), []).append((np.array(ablated), np.array(changed), fit))
    tokens = np.array(of_neurons[0][-1])
    statement = """SELECT universal, kind, replacements, ablated_loss_delta, ablated_loss_delta_se, loss_delta, restored,
                          restored_se FROM substitution_summary WHERE model = :model"""
    summary = {row[:2]: row[2:] for row in rows(published, statement, model=planted.a.name)}
    assert set(summary) == set(groups) and {universal for universal, _ in groups} == {"yes", "no"}
    for key, sums in groups.items():
        ablated, changed = (np.sum(columns, axis=0) for columns in list(zip(*sums, strict=True))[:2])
        fit = np.sqrt(np.sum(np.square([fit for *_, fit in sums]))) / (ablated.sum() / tokens.sum())
        assert summary[key][0] == len(sums)
        left_out = [np.arange(16) != block for block in np.flatnonzero(tokens)]
        g = len(left_out)
        ratios = np.array([1 - changed[rest].sum() / ablated[rest].sum() for rest in left_out])
        means = np.array([ablated[rest].sum() / tokens[rest].sum() for rest in left_out])
        se, ratio_se = (np.sqrt((g - 1) / g * ((x - x.mean()) ** 2).sum()) for x in (means, ratios))
        restored = 1 - changed.sum() / ablated.sum(), np.hypot(ratio_se, fit)
        expected = ablated.sum() / tokens.sum(), se, changed.sum() / tokens.sum(), *restored
        assert summary[key][1:] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_every_number_is_that_of_plain_float64_passes(published: str, planted: PlantedSubstitutes, home: Path) -> None:
    (folder,) = {path.parent for path in home.rglob(TOKENS_FILE)}
    tokens = np.fromfile(folder / TOKENS_FILE, dtype=np.int32).reshape(-1, CONTEXT)[: -(-TOKENS // CONTEXT)]
    blocks = np.fromfile(folder / BLOCKS_FILE, dtype=np.int16)[: len(tokens)]
    names = {planted.a.name: 0, planted.b.name: 1}
    newline = rows(published, "SELECT newline_id FROM tokenizers")[0][0]
    raw = {0: load_raw(planted.a).double(), 1: load_raw(planted.b).double()}
    reference = Reference(raw, tokens, blocks, {0, newline}, {0})
    measured = rows(
        published,
        """SELECT n.layer, n."index", r.n_fitted, r.n_tokens, r.mean, r.loss, r.loss_delta, r.token_loss_delta, r.block_tokens,
                  (SELECT array_agg(ARRAY[o.layer, o."index", 0] ORDER BY s.kind)
                     FROM substitutions s JOIN neurons o ON o.id = s.other_neuron_id WHERE s.neuron_id = n.id) AS others,
                  (SELECT array_agg(ARRAY[s.alpha, s.beta, s.loss_delta] ORDER BY s.kind)
                     FROM substitutions s WHERE s.neuron_id = n.id) AS numbers
             FROM replaced_neurons r JOIN neurons n ON n.id = r.neuron_id JOIN models m ON m.id = n.model_id
            WHERE m.name = :model""",
        model=planted.a.name,
    )
    assert len(measured) == 2 and names
    counted = reference.of_blocks(reference.counted)
    for layer, index, n_fitted, n_tokens, mean, loss, loss_delta, token_delta, block_tokens, others, numbers in measured:
        neuron, places = (0, layer, index), [(1, *place[:2]) for place in others]
        assert (n_fitted, n_tokens, block_tokens) == (reference.kept.sum(), counted.sum(), counted.tolist())
        assert mean == pytest.approx(reference.post(*neuron, reference.fitting)[reference.kept].mean(), rel=1e-6)
        assert loss == pytest.approx(reference.losses(*neuron, None).sum() / n_tokens, rel=1e-6)
        changes = reference.changes(neuron, places)[: 2 + len(places)].sum(1) / n_tokens
        assert [loss_delta, token_delta, *(row[2] for row in numbers)] == pytest.approx(changes.tolist(), abs=1e-6 * loss)
        for (alpha, beta, _), other in zip(numbers, places, strict=True):
            assert (alpha, beta) == pytest.approx(reference.line(neuron, other), abs=1e-5)


BROKEN = {
    "DELETE FROM replaced_neurons WHERE neuron_id = :neuron": "every substitution is of a neuron that was ablated as well",
    "UPDATE substitutions SET restored = NULL WHERE neuron_id = :neuron AND kind = 'match'": "restored is a ratio",
    "UPDATE replaced_neurons SET token_blocks[1] = token_blocks[1] + 1 WHERE neuron_id = :neuron": "sums of their blocks",
    "UPDATE substitutions SET fit_se = fit_se + 1 WHERE neuron_id = :neuron AND kind = 'match'": "standard errors follow",
    "UPDATE substitutions SET kind = 'random' WHERE neuron_id = :neuron AND kind = 'match'": "are the partners of rank 1 and 2",
}


@pytest.fixture
def copy(server: URL, published: str) -> Iterator[Engine]:
    with database(server, str(make_url(published).database)) as url:
        made = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
        yield made
        made.dispose()


@pytest.mark.parametrize("statement", BROKEN)
def test_what_does_not_hang_together_is_seen(copy: Engine, statement: str) -> None:
    assert {finding.status for finding in verify(copy, 1)} == {"ok"}
    with copy.begin() as connection:
        (neuron,) = connection.execute(text("SELECT min(neuron_id) FROM replaced_neurons")).one()
        connection.execute(text("DELETE FROM substitutions WHERE neuron_id = :neuron AND kind = 'random'"), {"neuron": neuron})
        assert connection.execute(text(statement), {"neuron": neuron}).rowcount == 1
    wrong = [finding.check for finding in verify(copy, 1) if finding.status == "differs" and finding.check != "checksum"]
    found = [finding for finding in verify(copy, 1) if finding.status == "differs" and "checksum" not in finding.check]
    assert wrong and any(BROKEN[statement] in finding.subject for finding in found), found


def test_matches_are_needed_and_those_of_the_run_will_do(
    server: URL, template: str, published: str, planted: PlantedSubstitutes, home: Path
) -> None:
    models, statement = [planted.a, planted.b], f"{STAND_INS} ORDER BY kind"
    with database(server, template) as url:
        asked = {**READ, "only": ("substitution",)}
        with pytest.raises(InputError, match=r"which this run does not have; .*: --only correlations,substitution\.$"):
            run_ingest(url, models, planted.corpus, **asked)
        run_ingest(url, models, planted.corpus, **{**READ, "only": ("activations", "correlations")})
        run_ingest(url, models, planted.corpus, **asked)
        for neuron in (COPIED, LONELY):
            named = {"model": planted.a.name, "neuron": neuron}
            assert rows(url, statement, **named) == rows(published, statement, **named)
