"""substitution: what a model loses when a neuron is replaced by its match in another model, and by other stand-ins.

Which neurons are replaced, and by which, follows from the partners of all; it is a job of its own, for which the shares of
substitutions wait, so that all of them replace neurons of one list.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from catalog import parts
from catalog.words import UNIVERSAL
from ingest.checkpoints.undefined import Described, no_direct_effects
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows, object_array
from ingest.parts.ground import Ground
from ingest.parts.measure import PARTNERS, Advance, Keys, ModelMeasure, Written
from ingest.parts.partners import Partners
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.prediction_metrics import logit_bytes, tokens_at_once
from ingest.roles.substitution import Replaced, substitute
from ingest.settings import IngestSettings
from ingest.statistics.lines import Line
from ingest.statistics.restoration import Restoration, restoration
from ingest.statistics.universality import universality

KINDS = ("match", "second", "random")
"""Neurons of another model that stand in, in the order of arrays."""
ALONE = 2
"""Replacements that need no other model: the mean and the token's mean, before all others."""
UNIVERSAL_SHARE = 0.05
"""Of a model's neurons, that are universal, about."""
AT_ONCE, LEAST = 10, 4
"""Neurons of one share, about, and of one that workers are left: every share begins with forward passes of all models."""
REHEARSED = 2
"""Neurons of each layer that a rehearsal replaces."""


class ReplacedNeurons(ModelMeasure):
    """Which neurons are replaced: universal ones and as many others, each with the neurons of other models that stand in."""

    part = "substitution"
    name = "replaced"
    title = "neurons to replace"
    needs = (PARTNERS,)
    provides = ("replaced",)

    def undefined(self, model: Described, context: int) -> str | None:
        return no_direct_effects(model)

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        return 1

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return float(shape.n_neurons)

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        others = [other for other in range(len(ground.checkpoints)) if other != model]
        partners = [ground.partners(model, other) for other in others]
        drawn_by = ground.checkpoints[model].drawn_by
        excess = universality([found.best for found in partners]).excess_corr
        random = np.random.default_rng(_seeds(ground.settings.seed, drawn_by))
        neurons = chosen(excess, ground.settings.substitution_neurons, random)
        stand_ins = []
        for other, found in zip(others, partners, strict=True):
            checkpoint = ground.checkpoints[other]
            seeds = _seeds(ground.settings.seed, drawn_by, checkpoint.drawn_by)
            stand_ins.append(stand_in(neurons, found, checkpoint.d_mlp, seeds))
        advance(len(excess))
        return {"neuron": neurons, "other": np.array(others), "substitute": np.stack(stand_ins, axis=1)}

    def rehearse(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        """Neurons of all layers, for each of which others of the same model stand in."""
        checkpoint = ground.checkpoints[model]
        neurons = (np.arange(checkpoint.n_layers)[:, None] * checkpoint.d_mlp + np.arange(REHEARSED)).ravel()
        substitutes = (neurons[:, None, None] + 1 + np.arange(len(KINDS))) % (checkpoint.n_layers * checkpoint.d_mlp)
        advance(checkpoint.n_layers * checkpoint.d_mlp)
        return {"neuron": neurons, "other": np.array([model]), "substitute": substitutes}


def chosen(excess: Float[np.ndarray, " neurons"], most: int | None, random: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    """The neurons of a model that are replaced: universal ones and as many others, at random where there are too many.

    Args:
        excess: excess correlation of all neurons; NaN where it is undefined.
        most: how many, at most.
    """
    least = parts.thresholds()[UNIVERSAL, "min_excess"].value
    order = random.permutation(len(excess))
    universal, others = order[excess[order] > least], order[excess[order] <= least]
    if most is not None:
        universal = universal[: -(-most // 2)]
        others = others[: most - len(universal)]
    return np.sort(np.concatenate([universal, others[: len(universal)]]))


def stand_in(
    neurons: Int[np.ndarray, " chosen"], partners: Partners, d_mlp: int, seeds: Sequence[int]
) -> Int[np.ndarray, "chosen kinds"]:
    """Flat indices in another model of what stands in for neurons; -1 where there is none.

    The random one is of the match's layer, neither the match nor the second best, and the same whichever neurons are chosen.
    """
    found = np.full((len(neurons), len(KINDS)), -1, dtype=np.int64)
    for place, neuron in enumerate(neurons.tolist()):
        match, second = int(partners.best.other[neuron]), int(partners.second[neuron])
        if match >= 0:
            layer = match // d_mlp * d_mlp
            free = np.setdiff1d(np.arange(layer, layer + d_mlp), (match, second))
            drawn = np.random.default_rng([*seeds, neuron]).choice(free) if len(free) else -1
            found[place] = match, second, drawn
    return found


def _seeds(seed: int, *drawn_by: str) -> list[int]:
    """Of what is drawn for models, whatever their order in the run."""
    return [seed, *(int(identity[:16], 16) for identity in drawn_by)]


class Substitutions(ModelMeasure):
    """The change of the loss by each replacement of the chosen neurons, some neurons in each share."""

    part = name = "substitution"
    title = "substitution"
    needs = ("replaced",)
    tables = ("replaced_neurons", "substitutions")
    reads_corpus = True

    def tokens_wanted(self, settings: IngestSettings) -> int:
        return settings.substitution_tokens

    def expected(self, shape: ModelShape, settings: IngestSettings) -> int:
        return _expected_neurons(shape, settings) * (ALONE + len(KINDS) * (len(settings.models) - 1))

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        neurons = _expected_neurons(shape, settings)
        return min(-(-neurons // LEAST), max(-(-neurons // AT_ONCE), settings.at_least_jobs))

    def bytes_needed(self, shape: ModelShape, settings: IngestSettings, budget: int) -> int:
        return min(budget, logit_bytes(shape.d_vocab, settings.batch_tokens))

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        """Each replacement passes half of the blocks, on half of the tokens, and nearly each a second time with a steeper line;
        without one, nothing is read."""
        blocks, unembedding = shape.block_flop * shape.n_layers, shape.d_model * shape.d_vocab
        return tokens * (2 * blocks * min(n, 1) + 2 * n * (blocks / 2 + unembedding) / 2)

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        (replaced,) = ground.found(ReplacedNeurons.name, model)
        others, wanted = replaced["other"].tolist(), share.slice(len(replaced["neuron"]))
        neurons, substitutes = replaced["neuron"][wanted], replaced["substitute"][wanted]
        there = [Replaced(int(neuron), _places(others, row)) for neuron, row in zip(neurons, substitutes, strict=True)]
        arrays: Arrays = {"neuron": neurons, "other": replaced["other"], "substitute": substitutes}
        return arrays | (_replace(model, there, ground, advance) if there else {})

    def count(self, arrays: Arrays) -> int:
        return len(arrays["neuron"]) * ALONE + int((arrays["substitute"] >= 0).sum())

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        """Which neurons are replaced depends on all models of the run."""
        yield from ()

    def rows_of_run(self, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        for model in range(len(keys.models)):
            for arrays in ground.found(self.name, model):
                if "change" in arrays:
                    yield from substitution_columns(arrays, model, keys)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=2 * UNIVERSAL_SHARE * (1 + len(KINDS) * (n_models - 1)))


def _expected_neurons(shape: ModelShape, settings: IngestSettings) -> int:
    """How many neurons of a model are replaced, about."""
    usual = max(2, round(2 * UNIVERSAL_SHARE * shape.n_neurons))
    return min(settings.substitution_neurons or usual, shape.n_neurons)


def _places(others: Sequence[int], substitutes: Int[np.ndarray, "others kinds"]) -> tuple[tuple[int, int], ...]:
    """Model and neuron of those that there are."""
    return tuple((other, int(neuron)) for other, row in zip(others, substitutes, strict=True) for neuron in row if neuron >= 0)


def _replace(model: int, replaced: Sequence[Replaced], ground: Ground, advance: Advance) -> Arrays:
    """What was found, one entry for each neuron or, where they say so, for each neuron and each of its substitutes in turn;
    nothing where a half of the documents has no tokens."""
    settings, d_vocab = ground.settings, ground.checkpoints[model].d_vocab
    at_once = tokens_at_once(ground.memory_bytes, d_vocab, settings.batch_tokens)
    lines, losses = substitute(
        dict(enumerate(ground.checkpoints)), model, replaced, ground.corpus, ground.tokenizer.special_ids,
        settings.substitution_tokens, at_once, ground.device, advance,
    )  # fmt: skip
    if not lines or not losses.n.any():
        return {}
    found = zip(lines, losses.changes, losses.steeper, strict=True)
    return {
        "n_fitted": np.array(lines[0].n),
        "mean": np.array([line.mean for line in lines]),
        "alpha": np.concatenate([line.alpha for line in lines]),
        "beta": np.concatenate([line.beta for line in lines]),
        "beta_se": np.concatenate([line.beta_se for line in lines]),
        "n": losses.n,
        "alone": losses.alone,
        "change": np.concatenate(losses.changes),
        "fit_se": np.concatenate([_fit_errors(*of_neuron, losses.n.sum()) for of_neuron in found]),
    }


def _fit_errors(
    line: Line, changes: Float[np.ndarray, "replacements blocks"], steeper: Float[np.ndarray, " substitutes"], n: np.int64
) -> Float[np.ndarray, " replacements"]:
    """Of mean changes of the loss: how far a line whose slope is farther from 0 by its error changes it; 0 without a line."""
    apart = np.abs(steeper - changes[ALONE:].sum(1)) / n
    return np.concatenate([np.zeros(ALONE), np.where(np.isnan(line.beta_se), np.nan, apart)])


def substitution_columns(arrays: Arrays, model: int, keys: Keys) -> Iterator[TableRows]:
    """Rows of replaced_neurons and of substitutions, of one share."""
    n, substitutes = arrays["n"], arrays["substitute"].reshape(len(arrays["neuron"]), -1)
    ends = np.cumsum(ALONE + (substitutes >= 0).sum(1))[:-1]
    changes = np.split(arrays["change"], ends)
    fits = np.split(arrays["fit_se"], ends)
    restorations = [restoration(n, change, fit) for change, fit in zip(changes, fits, strict=True)]
    ids = keys.models[model].neuron_ids[arrays["neuron"]]
    yield "replaced_neurons", _of_neurons(arrays, ids, restorations, changes)
    which, column = np.nonzero(substitutes >= 0)
    other, kind = arrays["other"][column // len(KINDS)], column % len(KINDS)
    neurons = substitutes[which, column]
    if len(which):
        others = [keys.models[one].neuron_ids[neuron] for one, neuron in zip(other, neurons, strict=True)]
        yield (
            "substitutions",
            {
                "neuron_id": ids[which],
                "other_model_id": np.array([keys.models[one].model_id for one in other], dtype=np.int32),
                "kind": np.array(KINDS, dtype=object)[kind],
                "other_neuron_id": np.array(others, dtype=np.int32),
                **{name: arrays[name] for name in ("alpha", "beta", "beta_se")},
                "fit_se": np.concatenate([fit[ALONE:] for fit in fits]),
                **{
                    column: np.concatenate([getattr(one, name)[ALONE:] for one in restorations])
                    for column, name in NUMBERS.items()
                },
                "blocks": object_array([row.tolist() for change in changes for row in change[ALONE:]]),
            },
        )


NUMBERS = {"loss_delta": "change", "loss_delta_se": "change_se", "restored": "restored", "restored_se": "restored_se"}
"""Columns of substitutions, as a restoration calls them."""


def _of_neurons(
    arrays: Arrays, ids: Ids, restorations: Sequence[Restoration], changes: Sequence[Float[np.ndarray, "replacements blocks"]]
) -> Columns:
    """Rows of replaced_neurons."""
    n, k = arrays["n"], len(ids)
    return {
        "neuron_id": ids,
        "n_fitted": np.full(k, arrays["n_fitted"]),
        "n_tokens": np.full(k, n.sum()),
        "mean": arrays["mean"],
        "loss": np.full(k, arrays["alone"].sum() / n.sum()),
        "loss_delta": np.array([one.change[0] for one in restorations]),
        "loss_delta_se": np.array([one.change_se[0] for one in restorations]),
        **{
            f"token_{column}": np.array([getattr(one, name)[1] for one in restorations]) for column, name in NUMBERS.items()
        },
        "block_tokens": object_array([n.tolist()] * k),
        "blocks": object_array([change[0].tolist() for change in changes]),
        "token_blocks": object_array([change[1].tolist() for change in changes]),
    }
