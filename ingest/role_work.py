"""What neurons do, computed model by model, and laid out as rows: the parts `weights` and those of `settings.ROLES`.

Everything but interventions, ablations and norms of heads follows from the weights. The results of a model wait in memory
until the run stages; vectors are made then, for effects on the logits of all models share one basis.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from catalog.errors import InputError
from catalog.rows import ModelIds
from ingest import role_results as rows
from ingest import to_rows
from ingest.architectures import final_norm
from ingest.checkpoint import Checkpoint
from ingest.corpus_features import vocabulary_of
from ingest.parts.arrays import Arrays, TableRows
from ingest.prepare import Inputs
from ingest.progress import Progress
from ingest.roles import entropy
from ingest.roles.attention import rows_needed
from ingest.roles.bos_norms import BosNormRatio, bos_norm_ratio
from ingest.roles.class_activity import ClassActivity, class_activity
from ingest.roles.compositions import LayerCompositions, head_compositions
from ingest.roles.head_scores import RandomBaseline, head_scores, random_baseline
from ingest.roles.head_selection import SelectedScores, choose_pairs, select_scores
from ingest.roles.heads import Pair
from ingest.roles.intervention import FIXED_AT, Intervention
from ingest.roles.interventions import run_interventions
from ingest.roles.path_ablation import PathAblation, ablate_paths
from ingest.roles.prediction import EffectExplainer
from ingest.roles.redundancy import SimilarNeurons, similar_neurons
from ingest.roles.vectors import effect_vectors, unit_rows, weight_vectors
from ingest.settings import IngestSettings
from ingest.statistics.weights import LogitEffects, WeightStatistics, weight_statistics

LEAST_MULTIPLE = 1.5
"""Of the largest |h| of random vectors, from which on a neuron's pair is ablated: below what labels ask for, which is 2."""
LEAST_KURTOSIS = 5.0
"""Over the vocabulary, from which on a neuron's activity before its class is measured: below what labels ask for, 10."""
BYTES_PER_LOGIT, LOGIT_MEMORY = 20, 2 * 2**30
"""What holding neurons takes per token of a batch and id of the vocabulary, and what it may take."""
MOST_PAIRS = 4
"""Pairs that are ablated, as a multiple of those of each sign that are ablated in any case."""


@dataclass
class ModelRoles:
    """What is known of one model; None where a part was not asked for."""

    weights: tuple[WeightStatistics, LogitEffects] | None = None
    explanations: Arrays | None = None
    similar: dict[str, SimilarNeurons] | None = None
    compositions: Sequence[LayerCompositions] | None = None
    scores: SelectedScores | None = None
    baseline: RandomBaseline | None = None
    norms: BosNormRatio | None = None
    ablations: Sequence[PathAblation] | None = None
    activity: tuple[np.ndarray, np.ndarray, ClassActivity] | None = None
    """Flat indices of neurons, the places of their classes among the vocabulary's features, and what was found."""
    measured: rows.Measured | None = None


def check_final_norm(checkpoint: Checkpoint) -> None:
    """Raises:
    InputError: interventions are not defined for the model.
    """
    try:
        final_norm(checkpoint.model, checkpoint.architecture)
    except ValueError as error:
        raise InputError(f"{checkpoint.source}: {error}") from error


@dataclass(frozen=True)
class RoleWork:
    """Computes the parts of a run."""

    settings: IngestSettings
    inputs: Inputs
    parts: tuple[str, ...]

    def compute(self, model: int, progress: Progress) -> ModelRoles:
        """Everything asked for of one model, whose weights are processed.

        Raises:
            InputError: the model has no layer norm at its end.
        """
        checkpoint, wanted, found = self.inputs.checkpoints[model], {*self.parts}, ModelRoles()
        if "entropy" in wanted:
            check_final_norm(checkpoint)
        if wanted & {"weights", "prediction", "class_activity", "entropy"}:
            self._effects(checkpoint, found, progress)
        if "redundancy" in wanted:
            found.similar = self._similar(checkpoint, progress)
        if wanted & {"attention", "ablations"}:
            self._heads(checkpoint, found, progress)
        if "ablations" in wanted:
            self._ablations(checkpoint, found, progress)
        if "class_activity" in wanted:
            self._class_activity(checkpoint, found, progress)
        if "entropy" in wanted:
            found.measured = self._interventions(checkpoint, found, progress)
        return found

    def _effects(self, checkpoint: Checkpoint, found: ModelRoles, progress: Progress) -> None:
        """Moments, lists and explanations of the effects on the logits, from one pass."""
        weights, n = checkpoint.weights, self.inputs.tokenizer.n_tokens
        progress.phase(f"effects on logits, {checkpoint.name}", checkpoint.n_layers * checkpoint.d_mlp, "neurons")
        explained = {"prediction", "class_activity"} & {*self.parts}
        explainer = EffectExplainer(vocabulary_of(self.inputs.tokenizer)) if explained else None

        def each(sums: Any) -> None:
            if explainer is not None:
                explainer.add(sums)
            progress.advance(sums.neurons.stop - sums.neurons.start)

        classes = None if explainer is None else explainer.classes
        found.weights = weight_statistics(
            weights.W_in, weights.b_in, weights.W_out, weights.W_U[:, :n], classes=classes, each=each
        )
        found.explanations = None if explainer is None else explainer.result()

    def _similar(self, checkpoint: Checkpoint, progress: Progress) -> dict[str, SimilarNeurons]:
        progress.phase(f"similar neurons, {checkpoint.name}", 2 * checkpoint.n_layers * checkpoint.d_mlp, "neurons")
        return similar_neurons(checkpoint.weights.W_in, checkpoint.weights.W_out, advance=progress.advance)

    def _heads(self, checkpoint: Checkpoint, found: ModelRoles, progress: Progress) -> None:
        weights = checkpoint.weights
        if "attention" in self.parts:
            progress.phase(f"heads, {checkpoint.name}", checkpoint.n_layers * checkpoint.d_mlp, "neurons")
            made = head_compositions(
                weights.W_in, weights.W_out, weights.W_Q, weights.W_K, weights.W_V, weights.W_O,
                parallel=checkpoint.parallel_attention, advance=progress.advance,
            )  # fmt: skip
            found.compositions = list(made)
        scores = head_scores(checkpoint, self.inputs.tokenizer.bos_id, self.inputs.context)
        found.scores = select_scores(scores)
        found.baseline = random_baseline(scores, self.settings.seed)

    def _ablations(self, checkpoint: Checkpoint, found: ModelRoles, progress: Progress) -> None:
        """Norms of the heads' output, and the ablation of the pairs that h promises most of."""
        corpus, tokenizer = self.inputs.corpus, self.inputs.tokenizer
        assert corpus is not None and found.scores is not None and found.baseline is not None
        each = self.settings.ablation_pairs
        least = LEAST_MULTIPLE * found.baseline.largest_of_model
        pairs = choose_pairs(found.scores, checkpoint.d_mlp, each, least, MOST_PAIRS * each)
        progress.phase(f"norms of heads, {checkpoint.name}", self.n_tokens, "tokens")
        found.norms = bos_norm_ratio(checkpoint, corpus, tokenizer.bos_id, *self._reading(progress))
        found.ablations = self.ablate(checkpoint, pairs, progress) if pairs else []

    def ablate(self, checkpoint: Checkpoint, pairs: Sequence[Pair], progress: Progress) -> list[PathAblation]:
        """Take neurons from the queries of heads on the first tokens of the corpus.

        Raises:
            ValueError: the model has no such neuron or head, or its output does not reach the head.
        """
        corpus = self.inputs.corpus
        assert corpus is not None
        progress.phase(f"path ablation, {checkpoint.name}", self.n_tokens, "tokens")
        return ablate_paths(checkpoint, corpus, pairs, self.inputs.tokenizer.special_ids, *self._reading(progress))

    def _reading(self, progress: Progress) -> tuple[int, int, torch.device, Callable[[int], None]]:
        """How much of the corpus is read, in which pieces, and where."""
        return self.settings.intervention_tokens, self.settings.batch_tokens, self.inputs.device, progress.advance

    def _class_activity(self, checkpoint: Checkpoint, found: ModelRoles, progress: Progress) -> None:
        """Of neurons with a peaked effect, whether they are active before the tokens that it is on."""
        corpus, table = self.inputs.corpus, vocabulary_of(self.inputs.tokenizer)
        assert corpus is not None and found.weights is not None and found.explanations is not None
        explained, first = found.explanations, found.explanations["rank"] == 1
        neurons, features = explained["neuron_index"][first], explained["feature_index"][first]
        peaked = found.weights[0].vocab_kurt.cpu().numpy()[neurons] > LEAST_KURTOSIS
        neurons, features = neurons[peaked], features[peaked]
        used, class_of = np.unique(features, return_inverse=True)
        classes = np.zeros((len(used), checkpoint.d_vocab), dtype=bool)
        classes[:, : table.matrix.shape[1]] = table.matrix[used]
        progress.phase(f"activity before classes, {checkpoint.name}", self.n_tokens, "tokens")
        activity = class_activity(checkpoint, corpus, neurons.tolist(), class_of.tolist(), classes, *self._reading(progress))
        found.activity = neurons, features, activity

    def _interventions(self, checkpoint: Checkpoint, found: ModelRoles, progress: Progress) -> rows.Measured:
        """Candidates and controls, held at each value."""
        assert found.weights is not None and self.inputs.corpus is not None
        statistics, d_mlp = found.weights[0], checkpoint.d_mlp
        layer = np.repeat(np.arange(checkpoint.n_layers), d_mlp)
        chosen = (layer, statistics.l2_penalty.cpu().numpy(), statistics.vocab_var.cpu().numpy())
        units = unit_rows(checkpoint.weights.W_out.flatten(0, 1), torch.float32)[0].cpu().numpy()
        candidates = entropy.candidates(*chosen, units)
        controls = entropy.controls(*chosen, candidates, self.settings.seed)
        held = [
            *((int(n), "candidate", int(of)) for n, of in zip(candidates.neurons, candidates.antipode_of, strict=True)),
            *((int(n), "control", -1) for n in controls),
        ]
        planned = [
            (Intervention("fix", (divmod(neuron, d_mlp),), value), purpose, of)
            for neuron, purpose, of in held
            for value in FIXED_AT
        ]
        interventions, purposes, of = (list(column) for column in zip(*planned, strict=True)) if planned else ([], [], [])
        return self.measure(checkpoint, interventions, purposes, of, progress)

    def measure(
        self,
        checkpoint: Checkpoint,
        interventions: Sequence[Intervention],
        purposes: Sequence[str],
        of: Sequence[int],
        progress: Progress,
    ) -> rows.Measured:
        """Hold neurons on the first tokens of the corpus.

        Raises:
            ValueError: the model has no such neuron, or no layer norm at its end.
        """
        corpus = self.inputs.corpus
        assert corpus is not None
        progress.phase(f"interventions, {checkpoint.name}", self.n_tokens, "tokens")
        n_tokens, batch_tokens, device, advance = self._reading(progress)
        room = min(self.inputs.memory_bytes, LOGIT_MEMORY) // (BYTES_PER_LOGIT * checkpoint.d_vocab)
        results = run_interventions(
            checkpoint, corpus.tokens, self.inputs.tokenizer.special_ids, interventions, n_tokens, min(batch_tokens, room),
            device, advance,
        )  # fmt: skip
        return rows.Measured(interventions, purposes, of, results, self.n_rows)

    @property
    def n_rows(self) -> int:
        """Rows of the corpus on which neurons are held, or taken from heads."""
        assert self.inputs.corpus is not None
        return rows_needed(self.inputs.corpus, self.settings.intervention_tokens)

    @property
    def n_tokens(self) -> int:
        """Tokens of these rows."""
        return self.n_rows * self.inputs.context

    # --- rows ---

    def tables(self, model: int, found: ModelRoles, own: ModelIds, feature_ids: Mapping[str, int]) -> Iterator[TableRows]:
        """All rows of one model but its vectors."""
        checkpoint, ids = self.inputs.checkpoints[model], own.neuron_ids
        d_mlp = checkpoint.d_mlp
        if found.weights is not None and "weights" in self.parts:
            yield "weight_statistics", to_rows.weight_columns(ids, found.weights[0])
            for columns in to_rows.logit_effect_columns(ids, found.weights[1]):
                yield "logit_effects", columns
        explained = found.explanations is not None
        keys = np.array([feature_ids[name] for name in vocabulary_of(self.inputs.tokenizer).names if explained], dtype=np.int32)
        if found.explanations is not None and "prediction" in self.parts:
            yield from rows.explanation_columns(found.explanations, ids, keys)
        if found.activity is not None:
            neurons, features, activity = found.activity
            yield "class_activity", {"neuron_id": ids[neurons], "feature_id": keys[features], **vars(activity)}
        for kind, similar in (found.similar or {}).items():
            yield from rows.similar_columns(similar, kind, ids)
        if "attention" in self.parts and found.scores is not None and found.baseline is not None:
            yield from rows.composition_columns(found.compositions or (), ids, d_mlp)
            yield from rows.score_columns(found.scores, ids)
            yield from rows.baseline_columns(found.baseline, own.model_id)
        if found.norms is not None:
            yield from rows.norm_columns(found.norms, own.model_id)
            yield from rows.ablation_columns(found.ablations or (), ids, d_mlp, self.n_rows)
        if found.measured is not None:
            yield from rows.intervention_columns(found.measured, ids, d_mlp)

    def vectors(self, ids: Sequence[ModelIds]) -> Iterator[TableRows]:
        """Rows of neuron_vectors of all models of the run."""
        n = self.inputs.tokenizer.n_tokens
        weights = [checkpoint.weights for checkpoint in self.inputs.checkpoints]
        for own, of_model in zip(ids, weights, strict=True):
            for kind, vectors in weight_vectors(of_model.W_in, of_model.W_out).items():
                yield from rows.vector_columns(vectors, kind, own.neuron_ids, own.model_id)
        effects = effect_vectors([(of_model.W_out, of_model.W_U[:, :n]) for of_model in weights])
        for own, vectors in zip(ids, effects, strict=True):
            yield from rows.vector_columns(vectors, "logit_effect", own.neuron_ids, own.model_id)
