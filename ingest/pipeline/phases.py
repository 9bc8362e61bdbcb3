"""One run's work after its inputs are open: compute, stage, merge, publish."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Engine

from catalog.rows import CorpusRow, FeatureRow, GroupRow, ModelIds, ModelRow, PublishRows, TokenizerRow, UndefinedRow
from catalog.runs import reuse
from catalog.runs.handle import RunHandle
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.corpus.counts import TokenCounts
from ingest.features.of_corpus import members
from ingest.features.topics import Topics
from ingest.inputs import Inputs
from ingest.jobs.inline import features_of, job_context, run_jobs
from ingest.parts import MEASURES
from ingest.parts.arrays import TableRows
from ingest.parts.ground import Ground
from ingest.parts.measure import Keys, Matches, Measure, PairMeasure
from ingest.parts.undefined import reason_of, undefined_of
from ingest.pipeline.planning import RunPlanner
from ingest.plan.run_plan import RunPlan
from ingest.progress import Progress
from ingest.settings import IngestSettings
from ingest.statistics.universality import BestMatches


@dataclass
class RunWork:
    """Carries one run from open inputs to a published run."""

    engine: Engine
    handle: RunHandle
    settings: IngestSettings
    inputs: Inputs
    parts: tuple[str, ...]
    """The parts to compute; a published run that is added to has the others."""
    topics: Topics | None = None
    """Of a control: those of the run whose control it is; None: they are found."""
    matches: Matches = field(default_factory=dict)

    def run(self, progress: Progress) -> None:
        """All phases; each is recorded in the run's row."""
        self._process_weights(progress)
        planner = RunPlanner(self.engine, self.handle, self.settings, self.inputs, self.parts, self.topics)
        planned, store = planner.plan(progress), planner.store()
        self.handle.set_phase("accumulate")
        features = features_of(self.inputs, planned.topics)
        context = job_context(self.settings, self.inputs, planned, features, store, progress)
        run_jobs(context, self.handle, progress)
        self._publish(planned, context.ground(), progress)
        store.remove()
        self.handle.forget_folder()

    @property
    def _measures(self) -> list[Measure]:
        """Of the parts at hand."""
        return [measure for measure in MEASURES if measure.part in self.parts]

    def _unknown(self, known: reuse.Known) -> list[int]:
        """Models of which no earlier run has all parts."""
        return [model for model, identity in enumerate(self.inputs.identities) if identity not in known.models]

    def _process_weights(self, progress: Progress) -> None:
        if self.inputs.original is not None:
            return
        progress.phase("check weights", len(self.inputs.checkpoints), "models")
        for checkpoint in self.inputs.checkpoints:
            if not checkpoint.is_processed:
                checkpoint.process(self.inputs.tokenizer.n_tokens)
            progress.advance(1)

    def _publish(self, planned: RunPlan, ground: Ground, progress: Progress) -> None:
        progress.phase("stage", None, "tables")
        self.handle.set_phase("stage")
        ids = self.handle.reserve(
            [self._model_row(checkpoint) for checkpoint in self.inputs.checkpoints], self.inputs.tokenizer.sha256
        )
        self.handle.check_sources({*planned.known.models.values(), *planned.known.pairs.values()}, planned.definitions)
        features = self._feature_rows(ground)
        keys = Keys(ids, self.handle.feature_ids(features))
        self._stage_all(planned, keys, ground)
        progress.phase("merge", None, "tables")
        self.handle.set_phase("merge")
        self._take_over(ids, planned.known)
        groups = self._merge(keys)
        progress.phase("index", None, "tables")
        self.handle.index_staged()
        progress.phase("publish", None, "transaction")
        self.handle.set_phase("publish")
        self.handle.publish(self._publish_rows(keys, features, ground, groups, planned))

    # --- phase stage ---

    def _stage_all(self, planned: RunPlan, keys: Keys, ground: Ground) -> None:
        """What this run found: of models that no earlier run has, of pairs likewise, and of the run itself."""
        for model in self._unknown(planned.known):
            for measure in self._measures:
                if reason_of(measure, self.inputs.checkpoints[model], self.inputs.context) is None:
                    self._stage(measure.rows_of_model(model, keys, ground))
        for measure in self._measures:
            self._stage(measure.rows_of_run(keys, ground))
            if isinstance(measure, PairMeasure):
                for a, b in planned.work.pairs:
                    self._stage(measure.rows_of_pair(a, b, self.matches, keys, ground))

    def _stage(self, rows: Iterable[TableRows]) -> None:
        for table, columns in rows:
            self.handle.stage(table, columns)

    def _feature_rows(self, ground: Ground) -> list[FeatureRow]:
        """All features that rows of the parts at hand may point to, each once."""
        rows = [row for measure in self._measures for row in measure.features(ground)]
        return list({row.name: row for row in rows}.values())

    def _feature_tokens(self, ground: Ground) -> dict[str, np.ndarray]:
        """Token ids of each feature of tokens."""
        tables = [table for measure in self._measures if (table := measure.tokens(ground)) is not None]
        return {name: ids for table in tables for name, ids in members(table)}

    # --- phase merge ---

    def _take_over(self, ids: Sequence[ModelIds], known: reuse.Known) -> None:
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
                for one, other in ((a, b), (b, a)):
                    self.matches[one, other] = BestMatches(
                        *reuse.best_matches(self.engine, run, ids[one].model_id, ids[other].model_id)
                    )

    def _merge(self, keys: Keys) -> list[GroupRow]:
        """What follows from the best matches in all other models: universality, and groups."""
        groups: list[GroupRow] = []
        for measure in self._measures:
            if isinstance(measure, PairMeasure):
                self._stage(measure.rows_of_matches(self.matches, keys))
                groups += measure.groups(self.matches, keys)
        return groups

    # --- phase publish ---

    def _publish_rows(
        self, keys: Keys, features: list[FeatureRow], ground: Ground, groups: list[GroupRow], planned: RunPlan
    ) -> PublishRows:
        tokenizer, ids, known = self.inputs.tokenizer, keys.models, planned.known
        n = len(ids)
        return PublishRows(
            models=list(zip([self._model_row(c) for c in self.inputs.checkpoints], ids, strict=True)),
            tokenizer=TokenizerRow(
                tokenizer.sha256,
                tokenizer.n_tokens,
                tokenizer.bos.id,
                tokenizer.newline_id,
                tokenizer.token_bytes,
                tokenizer.texts,
            ),
            corpus=None if ground.corpus_read is None else self._corpus_row(ground.features.counts),
            features=features,
            feature_ids=dict(keys.features),
            feature_tokens=self._feature_tokens(ground),
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
            parts=planned.definitions,
            tensors={own.model_id: c.tensors for c, own in zip(self.inputs.checkpoints, ids, strict=True)},
            undefined=self._undefined(ids),
        )

    def _undefined(self, ids: Sequence[ModelIds]) -> list[UndefinedRow]:
        found = undefined_of(self.parts, self.inputs.checkpoints, self.inputs.context)
        return [UndefinedRow(ids[u.model].model_id, u.part, u.measure, [*u.left_out], u.reason) for u in found]

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
            n_documents=corpus.meta.n_documents,
            begins_with_bos=corpus.meta.begins_with_bos,
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
            control_of=None if self.inputs.original is None else self.inputs.original.identity.sha256,
            gated=checkpoint.is_gated,
            **({} if checkpoint.place is None else checkpoint.place._asdict()),
            quantisation=checkpoint.quantisation,
        )
