"""entropy: what a model predicts when neurons are held that may act on the scale of the final layer norm, and what it would
predict if they wrote along other neurons of their layer.

Which neurons are held follows from the effects of all; it is a job of its own, for which the shares of interventions wait,
so that all of them, on whatever devices, hold neurons of one list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from catalog.words import FALSE_DISCOVERIES, LEAST_CONTROLS
from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows, object_array
from ingest.parts.effects import statistics_of
from ingest.parts.ground import Ground
from ingest.parts.measure import Advance, Keys, ModelMeasure, Written
from ingest.parts.shapes import ModelShape, Share
from ingest.roles import entropy_candidates
from ingest.roles.intervention import CONTROLLED_AT, FIXED_AT, Intervention
from ingest.roles.interventions import run_interventions
from ingest.roles.prediction_metrics import METRICS, InterventionResults, logit_bytes, tokens_at_once
from ingest.roles.vectors import unit_rows
from ingest.settings import IngestSettings

KL = "kl"
"""The metric that compares with the model as it is, so that it has no difference to it."""
CONTROLLED = ("entropy", "scale")
"""The metrics of controls that are kept."""
HELD_AT_ONCE, LEAST_HELD = 80, 40
"""Interventions of one share, about, and of one that workers are left: every share begins with a forward pass of the model as
it is, for so many with a neuron held."""
CHOSEN_BY = replace(
    entropy_candidates.DEFAULTS, least_controls=LEAST_CONTROLS, false_discoveries=FALSE_DISCOVERIES
)
HELD_SHARE = 0.001
"""Of the neurons of the last two layers, that may be entropy neurons, about: the largest hundredth by one measure of which few
are among the smallest hundredth by another."""
REHEARSED_FLOP, MOST_REHEARSED = 2e11, 10
"""Operations of the passes with a held neuron of a rehearsal, and such neurons per layer: with a large vocabulary they take
longest."""


@dataclass(frozen=True)
class Measured:
    """Interventions on one model and what came of them."""

    interventions: Sequence[Intervention]
    purposes: Sequence[str]
    antipode_of: Sequence[int]
    """The flat index of the candidate whose opposite the neuron is; -1 for none."""
    results: InterventionResults
    n_rows: int


class Candidates(ModelMeasure):
    """Which neurons are held: candidates by their weights, and their antipodes; and along which others they have controls."""

    part = "entropy"
    name = "entropy_candidates"
    title = "candidates"
    needs = ("effects",)
    provides = ("entropy_candidates",)

    def undefined(self, model: Described, context: int) -> str | None:
        return no_direct_effects(model)

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return shape.n_neurons * shape.d_model

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        checkpoint, statistics = ground.processed(model), statistics_of(model, ground)
        layer = np.repeat(np.arange(checkpoint.n_layers), checkpoint.d_mlp)
        chosen = (layer, statistics.l2_penalty.cpu().numpy(), statistics.vocab_var.cpu().numpy())
        units = unit_rows(checkpoint.weights.W_out.flatten(0, 1), torch.float32)[0].cpu().numpy()
        candidates = entropy_candidates.candidates(*chosen, units, CHOSEN_BY)
        others = entropy_candidates.controls(layer, units, candidates, ground.settings.seed, CHOSEN_BY)
        # beside them itself, on the same tokens
        controls = [np.append(drawn, own) for own, drawn in zip(candidates.neurons, others, strict=True)]
        advance(checkpoint.n_layers * checkpoint.d_mlp)
        return _held(candidates.neurons, candidates.antipode_of, controls)

    def rehearse(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        """Neurons of all layers, and not those that the weights of a random model choose."""
        self.find(model, share, ground, advance)
        checkpoint = ground.checkpoints[model]
        flop = 2.0 * ground.n_tokens_read * checkpoint.d_model * checkpoint.d_vocab * len(FIXED_AT) * checkpoint.n_layers
        n = min(max(1, round(REHEARSED_FLOP / flop)), MOST_REHEARSED, checkpoint.d_mlp)
        neurons = (np.arange(checkpoint.n_layers)[:, None] * checkpoint.d_mlp + np.arange(n)).ravel()
        return _held(neurons, np.full(len(neurons), -1), [])


def _held(neurons: Ids, antipode_of: Ids, controls: Sequence[Ids]) -> Arrays:
    """Every intervention, those of the candidates first: flat indices, -1 for none."""
    n_controls = np.array([len(drawn) for drawn in controls], dtype=np.int64)
    n_held = len(FIXED_AT) * len(neurons)
    return {
        "neuron": np.concatenate([np.repeat(neurons, len(FIXED_AT)), np.repeat(neurons[: len(controls)], n_controls)]),
        "value": np.concatenate([np.tile(FIXED_AT, len(neurons)), np.full(n_controls.sum(), CONTROLLED_AT)]),
        "antipode_of": np.concatenate([np.repeat(antipode_of, len(FIXED_AT)), np.full(n_controls.sum(), -1)]),
        "along": np.concatenate([np.full(n_held, -1), *controls]),
    }


class Interventions(ModelMeasure):
    """Candidates held at each value, and their controls at one, some of these in each share."""

    part = name = "entropy"
    title = "interventions"
    needs = ("entropy_candidates",)
    tables = ("interventions", "entropy_controls")
    reads_corpus = True

    def expected(self, shape: ModelShape, settings: IngestSettings) -> int:
        last = min(CHOSEN_BY.last_layers, shape.n_layers) * shape.d_mlp
        candidates = max(1, round(HELD_SHARE * last))
        return candidates * (len(FIXED_AT) + min(entropy_candidates.controls_of(candidates, CHOSEN_BY), shape.d_mlp))

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        held = self.expected(shape, settings)
        return min(-(-held // LEAST_HELD), max(-(-held // HELD_AT_ONCE), settings.at_least_jobs))

    def bytes_needed(self, shape: ModelShape, settings: IngestSettings, budget: int) -> int:
        return min(budget, logit_bytes(shape.d_vocab, settings.batch_tokens))

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        block, unembedding = shape.block_flop, shape.d_model * shape.d_vocab
        return tokens * (block * shape.n_layers + n * (block + unembedding))

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        (held,) = ground.found(Candidates.name, model)
        interventions = _interventions(held, ground.checkpoints[model].d_mlp)
        wanted, n_held = share.slice(len(interventions)), int((held["along"] < 0).sum())
        found: Arrays = {name: values[wanted] for name, values in held.items()}
        of_held, of_controls = (
            slice(edge(wanted.start, n_held) - before, edge(wanted.stop, n_held) - before)
            for edge, before in ((min, 0), (max, n_held))
        )
        kinds = (
            ("held", interventions[:n_held], of_held, None),
            ("controls", interventions[n_held:], of_controls, ground.settings.direction_tokens),
        )
        readings = sum(bool(kind[answered]) for _, kind, answered, _ in kinds)

        def told(amount: int) -> None:
            advance(amount // readings)  # the tokens of a share are told once, however often it reads them

        for name, kind, answered, most in kinds:
            results = hold(model, kind, ground, told, answered, most) if kind[answered] else no_results()
            found |= {f"{name}_{key}": np.array(value) for key, value in vars(results).items()}
        return found

    def count(self, arrays: Arrays) -> int:
        return len(arrays["value"])

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        d_mlp, ids, controls = ground.checkpoints[model].d_mlp, keys.models[model].neuron_ids, arrays["along"] >= 0
        of_candidates = {name: arrays[name][~controls] for name in ("neuron", "value", "along", "antipode_of")}
        results = (arrays[f"held_{name}"] for name in ("nominal", "mean", "delta", "se"))
        measured = Measured(
            _interventions(of_candidates, d_mlp),
            ["candidate"] * int((~controls).sum()),
            of_candidates["antipode_of"].tolist(),
            InterventionResults(int(arrays["held_n_tokens"]), *results),
            ground.n_rows_read,
        )
        yield from intervention_columns(measured, ids, d_mlp)
        if controls.any():
            deltas = {f"{name}_delta": arrays["controls_delta"][:, METRICS.index(name)] for name in CONTROLLED}
            others = {"neuron_id": ids[arrays["neuron"][controls]], "along_neuron_id": ids[arrays["along"][controls]]}
            n_tokens = np.full(int(controls.sum()), arrays["controls_n_tokens"], dtype=np.int64)
            yield "entropy_controls", {**others, "value": arrays["value"][controls], "n_tokens": n_tokens, **deltas}

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=0.2)


def _interventions(held: Arrays, d_mlp: int) -> list[Intervention]:
    """Of flat indices."""
    return [
        Intervention("fix", (divmod(neuron, d_mlp),), value, along % d_mlp if along >= 0 else None)
        for neuron, value, along in zip(*(held[name].tolist() for name in ("neuron", "value", "along")), strict=True)
    ]


def no_results() -> InterventionResults:
    """Of no interventions."""
    nothing = np.empty((0, len(METRICS)))
    return InterventionResults(0, np.full(len(METRICS), np.nan), nothing, nothing, nothing)


def hold(
    model: int,
    interventions: Sequence[Intervention],
    ground: Ground,
    advance: Advance,
    answered: slice = slice(None),
    most: int | None = None,
) -> InterventionResults:
    """Hold neurons on the first tokens of the corpus.

    Args:
        answered: the interventions that are wanted, of all that are prepared: what is found does not depend on which.
        most: tokens that count, evenly taken; None: all.
    Raises:
        ValueError: the model has no such neuron.
    """
    checkpoint = ground.processed(model)
    n_tokens, batch_tokens, device = ground.reading
    at_once = tokens_at_once(ground.memory_bytes, checkpoint.d_vocab, batch_tokens)
    return run_interventions(
        checkpoint, ground.corpus.tokens, ground.tokenizer.special_ids, interventions, n_tokens, at_once, device, advance,
        answered, most,
    )  # fmt: skip


def intervention_columns(measured: Measured, ids: Ids, d_mlp: int) -> Iterator[TableRows]:
    """Rows of interventions."""
    n = len(measured.interventions)
    if not n:
        return
    neurons = [
        sorted(int(ids[layer * d_mlp + index]) for layer, index in intervention.neurons)
        for intervention in measured.interventions
    ]
    together = object_array([held[1:] for held in neurons])
    antipode_of = np.array(measured.antipode_of)
    metrics: Columns = {}
    for column, name in enumerate(METRICS):
        if name == KL:
            continue
        metrics |= {
            name: measured.results.mean[:, column],
            f"{name}_delta": measured.results.delta[:, column],
            f"{name}_se": measured.results.se[:, column],
        }
    kl = METRICS.index(KL)
    yield (
        "interventions",
        {
            "neuron_id": np.array([held[0] for held in neurons], dtype=np.int32),
            "together": together,
            "kind": np.array([intervention.change for intervention in measured.interventions], dtype=object),
            "value": np.array([float(intervention.value) for intervention in measured.interventions]),
            "n_rows": np.full(n, measured.n_rows, dtype=np.int32),
            "n_tokens": np.full(n, measured.results.n_tokens, dtype=np.int64),
            "purpose": np.array(measured.purposes, dtype=object),
            "of_neuron_id": np.ma.masked_array(ids[np.clip(antipode_of, 0, None)], mask=antipode_of < 0),
            **metrics,
            KL: measured.results.mean[:, kl],
            "kl_se": measured.results.se[:, kl],
        },
    )
