"""One run's work after its inputs are open: compute, stage, merge, publish."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Engine

from catalog import reuse
from catalog.publish import PublishRows
from catalog.rows import CorpusRow, FeatureRow, GroupRow, ModelIds, ModelRow, TokenizerRow
from catalog.run_handle import RunHandle
from ingest import to_rows
from ingest.checkpoint import Checkpoint
from ingest.collect import PairResult, Results, collect
from ingest.corpus_features import CorpusFeatures, corpus_features, members, table_rows, vocabulary_of
from ingest.explain import Explainer
from ingest.identity import versions_of
from ingest.inline import job_context, run_jobs
from ingest.output_weights import OutputWeights
from ingest.prepare import Inputs, TokenCounts
from ingest.progress import Progress
from ingest.role_work import ModelRoles, RoleWork
from ingest.run_plan import RunPlan
from ingest.run_planner import RunPlanner
from ingest.settings import IngestSettings
from ingest.spans import KINDS
from ingest.statistics.groups import neuron_groups
from ingest.statistics.universality import BestMatches, best_matches, mutual_best, universality
from ingest.store import RunStore

Pair = tuple[int, int]
"""Indices into the list of checkpoints, the smaller first."""


@dataclass
class RunWork:
    """Carries one run from open inputs to a published run."""

    engine: Engine
    handle: RunHandle
    settings: IngestSettings
    inputs: Inputs
    parts: tuple[str, ...]
    """The parts to compute; a published run that is added to has the others."""
    matches: dict[Pair, BestMatches] = field(default_factory=dict)
    """Ordered pairs (a, b): best partners of a's neurons in b."""
    feature_ids: dict[str, int] = field(default_factory=dict)
    """Keys reserved for the features of this run."""

    def run(self, progress: Progress) -> None:
        """All phases; each is recorded in the run's row."""
        self._process_weights(progress)
        planner = RunPlanner(self.engine, self.handle, self.settings, self.inputs, self.parts)
        planned, store = planner.plan(progress), planner.store()
        self.handle.set_phase("accumulate")
        features = corpus_features(self.inputs, planned.topics)
        if features is not None:
            context = job_context(self.settings, self.inputs, planned.plan, features, store, progress)
            run_jobs(context, self.handle, progress)
        roles = {model: self._role_work.compute(model, progress) for model in self._unknown(planned.known)}
        self._publish(planned, features, roles, store, progress)

    @property
    def _role_work(self) -> RoleWork:
        return RoleWork(self.settings, self.inputs, self.parts)

    def _unknown(self, known: reuse.Known) -> list[int]:
        """Models of which no earlier run has all parts."""
        return [model for model, identity in enumerate(self.inputs.identities) if identity not in known.models]

    def _process_weights(self, progress: Progress) -> None:
        progress.phase("check weights", len(self.inputs.checkpoints), "models")
        for checkpoint in self.inputs.checkpoints:
            checkpoint.process(self.inputs.tokenizer.n_tokens)
            progress.advance(1)

    def _publish(
        self,
        planned: RunPlan,
        features: CorpusFeatures | None,
        roles: dict[int, ModelRoles],
        store: RunStore,
        progress: Progress,
    ) -> None:
        progress.phase("stage", None, "tables")
        self.handle.set_phase("stage")
        results = collect(store, planned.plan, planned.work, self.settings.top_k)
        ids = self.handle.reserve(
            [self._model_row(checkpoint) for checkpoint in self.inputs.checkpoints], self.inputs.tokenizer.sha256
        )
        self.feature_ids = self.handle.feature_ids(self._feature_rows(features))
        self._stage_models(ids, results, roles)
        if features is not None:
            self._stage_corpus(ids, results, features)
        self._stage_pairs(ids, results.pairs)
        progress.phase("merge", None, "tables")
        self.handle.set_phase("merge")
        self._take_over(ids, planned.known)
        groups = self._merge(ids)
        progress.phase("index", None, "tables")
        self.handle.index_staged()
        progress.phase("publish", None, "transaction")
        self.handle.set_phase("publish")
        self.handle.publish(self._publish_rows(ids, features, groups, planned.known))
        store.remove()
        self.handle.forget_folder()

    # --- phase stage ---

    def _stage_models(self, ids: list[ModelIds], results: Results, roles: dict[int, ModelRoles]) -> None:
        for model, activations in results.activations.items():
            self.handle.stage("activation_statistics", to_rows.activation_columns(ids[model].neuron_ids, activations))
        for model, found in roles.items():
            for table, columns in self._role_work.tables(model, found, ids[model], self.feature_ids):
                self.handle.stage(table, columns)
        if "redundancy" in self.parts:
            for table, columns in self._role_work.vectors(ids):
                self.handle.stage(table, columns)

    def _stage_corpus(self, ids: list[ModelIds], results: Results, features: CorpusFeatures) -> None:
        """What depends on the corpus's features."""
        for kind, model, span, arrays in results.spans:
            keys = self._keys(KINDS[kind].features(features))
            weights = OutputWeights(self.inputs.checkpoints[model], span, self.inputs.tokenizer.n_tokens)
            for table, columns in KINDS[kind].columns(arrays, ids[model].neuron_ids[span], features, weights):
                with_keys = {**columns, "feature_id": keys[columns["feature_id"]]} if "feature_id" in columns else columns
                self.handle.stage(table, with_keys)
        if "vocabulary" in self.parts:
            explainer = Explainer(features, self.settings.min_count)
            for table, columns in explainer.columns(results.explained, [model.neuron_ids for model in ids], self.feature_ids):
                self.handle.stage(table, columns)
        if "topics" in self.parts:
            keys = self._keys(features.topic_rows)
            self.handle.stage("run_topics", {"ordinal": np.arange(1, len(keys) + 1, dtype=np.int32), "feature_id": keys})

    def _keys(self, rows: Sequence[FeatureRow]) -> np.ndarray:
        return np.array([self.feature_ids[row.name] for row in rows], dtype=np.int32)

    def _feature_rows(self, features: CorpusFeatures | None) -> list[FeatureRow]:
        """All features that rows of the parts at hand may point to, each once."""
        rows = (
            [*table_rows(vocabulary_of(self.inputs.tokenizer), 0)] if {"prediction", "class_activity"} & {*self.parts} else []
        )
        if features is not None:
            rows += features.token_rows if "vocabulary" in self.parts else []
            rows += [row for kind in KINDS.values() if kind.part in self.parts for row in kind.features(features)]
        return list({row.name: row for row in rows}.values())

    def _feature_tokens(self, features: CorpusFeatures | None) -> dict[str, np.ndarray]:
        """Token ids of each feature of tokens."""
        tables = [vocabulary_of(self.inputs.tokenizer)] if {"prediction", "class_activity"} & {*self.parts} else []
        if features is not None:
            tables += [features.tokens] if "vocabulary" in self.parts else []
            of_kinds = [kind.tokens(features) for kind in KINDS.values() if kind.part in self.parts]
            tables += [table for table in of_kinds if table is not None]
        return {name: ids for table in tables for name, ids in members(table)}

    def _stage_pairs(self, ids: list[ModelIds], pairs: dict[Pair, PairResult]) -> None:
        for (a, b), result in pairs.items():
            forward, backward = best_matches(result.forward), best_matches(result.backward)
            self.matches[a, b], self.matches[b, a] = forward, backward
            diagonal = None if result.diagonal is None else result.diagonal.numpy()
            for own, other, directed, match, back in (
                (a, b, result.forward, forward, backward),
                (b, a, result.backward, backward, forward),
            ):
                mutual = mutual_best(match, back)
                target = (ids[own].neuron_ids, ids[other].neuron_ids, ids[other].model_id)
                for columns in to_rows.pair_columns(*target, directed, mutual):
                    self.handle.stage("pairs", columns)
                self.handle.stage("universality_by_model", to_rows.match_columns(*target, match, diagonal, mutual))

    # --- phase merge ---

    def _take_over(self, ids: list[ModelIds], known: reuse.Known) -> None:
        """Copy what an earlier run has: per-neuron rows of known models, and known pairs."""
        for model in range(len(ids)):
            run = known.models.get(self.inputs.identities[model])
            if run is not None:
                for part in self.parts:
                    for table in reuse.tables_of(part):
                        self.handle.stage_from_run(table, run, part, model=ids[model])
        for a in range(len(ids)):
            for b in range(a + 1, len(ids)):
                run = known.pairs.get(self.inputs.pair_key(a, b))
                if run is None or "correlations" not in self.parts:
                    continue
                for table in reuse.tables_of_pairs("correlations"):
                    self.handle.stage_from_run(table, run, "correlations", pairs_of=(ids[a].model_id, ids[b].model_id))
                for own, other in ((a, b), (b, a)):
                    self.matches[own, other] = BestMatches(
                        *reuse.best_matches(self.engine, run, ids[own].model_id, ids[other].model_id)
                    )

    def _merge(self, ids: list[ModelIds]) -> list[GroupRow]:
        """Universality over all other models, and the groups of mutual best matches."""
        if "correlations" not in self.parts:
            return []
        mutual: dict[tuple[tuple[int, int], tuple[int, int]], float] = {}
        for model in range(len(ids)):
            others = [self.matches[model, other] for other in range(len(ids)) if other != model]
            self.handle.stage("universality", to_rows.universality_columns(ids[model].neuron_ids, universality(others)))
        for a, b in ((a, b) for a, b in self.matches if a < b):
            match = self.matches[a, b]
            for i in np.flatnonzero(mutual_best(match, self.matches[b, a])):
                mutual[(a, int(i)), (b, int(match.other[i]))] = float(match.max_corr[i])
        return [
            GroupRow(
                neuron_ids=np.array([ids[model].neuron_ids[i] for model, i in group.neurons], dtype=np.int32),
                lowest_corr=group.lowest_corr,
            )
            for group in neuron_groups(mutual)
        ]

    # --- phase publish ---

    def _publish_rows(
        self,
        ids: list[ModelIds],
        features: CorpusFeatures | None,
        groups: list[GroupRow],
        known: reuse.Known,
    ) -> PublishRows:
        tokenizer = self.inputs.tokenizer
        n = len(ids)
        return PublishRows(
            models=list(zip([self._model_row(c) for c in self.inputs.checkpoints], ids, strict=True)),
            tokenizer=TokenizerRow(
                tokenizer.sha256,
                tokenizer.n_tokens,
                tokenizer.bos_id,
                tokenizer.newline_id,
                tokenizer.token_bytes,
                tokenizer.texts,
            ),
            corpus=None if features is None else self._corpus_row(features.counts),
            features=self._feature_rows(features),
            feature_ids=self.feature_ids,
            feature_tokens=self._feature_tokens(features),
            statistics_run_of={
                ids[m].model_id: known.models.get(self.inputs.identities[m], self.handle.run_id) for m in range(n)
            },
            pair_run_of={
                (min(ids[a].model_id, ids[b].model_id), max(ids[a].model_id, ids[b].model_id)): known.pairs.get(
                    self.inputs.pair_key(a, b), self.handle.run_id
                )
                for a in range(n)
                for b in range(a + 1, n)
                if "correlations" in self.parts
            },
            groups=groups,
            parts=versions_of(self.parts),
        )

    def _corpus_row(self, counts: TokenCounts) -> CorpusRow:
        corpus = self.inputs.corpus
        assert corpus is not None
        subset_rows = np.bincount(corpus.subset_ids, minlength=len(corpus.subset_names))
        return CorpusRow(
            name=corpus.meta.name,
            source=corpus.meta.source,
            revision=corpus.meta.revision,
            split=corpus.meta.split,
            context_length=self.inputs.context,
            n_rows=corpus.n_rows,
            n_tokens=corpus.n_tokens,
            n_kept=counts.n_kept,
            token_sha256=corpus.token_sha256,
            subsets=dict(zip(corpus.subset_names, subset_rows.tolist(), strict=False)),
            token_counts=counts.current,
            read_rows=corpus.read_rows,
            documents=corpus.meta.documents,
            n_files_left_out=len(corpus.meta.left_out),
        )

    def _model_row(self, checkpoint: Checkpoint) -> ModelRow:
        return ModelRow(
            name=checkpoint.name,
            revision=checkpoint.revision or "",
            model_family=self.settings.model_family or checkpoint.architecture,
            seed=checkpoint.seed,
            seed_varies=None,
            architecture=checkpoint.architecture,
            activation_function=checkpoint.activation_function,
            n_layers=checkpoint.n_layers,
            d_model=checkpoint.d_model,
            d_mlp=checkpoint.d_mlp,
            n_heads=checkpoint.n_heads,
            d_head=checkpoint.d_head,
            d_vocab=checkpoint.d_vocab,
            n_ctx=checkpoint.n_ctx,
            weights_sha256=checkpoint.identity.weights_sha256,
            behaviour=json.dumps(checkpoint.identity.behaviour),
            identity=checkpoint.identity.sha256,
            weight_processing=checkpoint.weight_processing,
            source=checkpoint.source,
        )
