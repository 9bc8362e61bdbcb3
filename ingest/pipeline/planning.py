"""How a run is cut into jobs, once its inputs are open: what is known already, the topics to look for, and the plan."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from sqlalchemy import Engine

from catalog.errors import InputError
from catalog.rows import Definition
from catalog.runs import jobs, reuse
from catalog.runs.handle import RunHandle
from ingest.corpus.counts import row_counts
from ingest.features.topic_files import read_topics
from ingest.features.topics import BY_FILE, BY_MACHINE, Topic, Topics, topic_model
from ingest.identity import definitions_of, run_settings
from ingest.inputs import Inputs
from ingest.jobs.inline import features_of
from ingest.jobs.store import RunStore
from ingest.parts import measures_of_models
from ingest.parts.measure import PARTNERS
from ingest.parts.shapes import CorpusShape, model_shape
from ingest.parts.undefined import sentences, undefined_of
from ingest.plan.cut import OF_PAIRS, Work, make_plan, with_measures
from ingest.plan.run_plan import RunPlan, stored_plan
from ingest.plan.second_reading import with_second_reading
from ingest.progress import Progress
from ingest.settings import IngestSettings


@dataclass(frozen=True)
class RunPlanner:
    """Plans one run."""

    engine: Engine
    handle: RunHandle
    settings: IngestSettings
    inputs: Inputs
    parts: tuple[str, ...]
    """The parts to compute; a published run that is added to has the others."""
    topics: Topics | None = None
    """Of a control: those of the run whose control it is; None: they are found."""

    @property
    def definitions(self) -> dict[str, Definition]:
        """What the numbers of the parts follow."""
        return definitions_of(self.parts, self.settings, self.inputs.context, self.inputs.start.with_bos)

    def store(self) -> RunStore:
        """Where the run's jobs leave what they found."""
        return RunStore(self.engine, self.handle.run_id, self.handle.folder(self.settings.staging_folder))

    def plan(self, progress: Progress) -> RunPlan:
        """The plan that an interrupted attempt left, if it still holds and work was done by it, else a new one.

        What is not defined for a model is left out, and told.
        """
        asked, corpus = self.settings, self.inputs.corpus
        if "distributions" in self.parts and asked.control is None and corpus is not None and not corpus.subset_names:
            progress.say(
                "the corpus has no subsets, so no neuron gets a context label for one; if another of its columns names them, "
                "give it as --subset-column"
            )
        self._check_partners()
        models = self.inputs.checkpoints
        for sentence in sentences(undefined_of(self.parts, models, self.inputs.context), [model.name for model in models]):
            progress.say(sentence)
        stored = self._stored(progress)
        if stored is not None:
            return stored
        made = self._new_plan(progress)
        with self.engine.begin() as connection:
            made.record(connection, self.handle.run_id)
        # Sums and checkpoints of an earlier plan belong to other jobs.
        self.store().remove()
        return made

    def _check_partners(self) -> None:
        """Raises:
        InputError: a part stands on matches that the run neither has nor computes.
        """
        standing = [measure.part for measure in measures_of_models(self.parts) if PARTNERS in measure.needs]
        if not standing or OF_PAIRS & {*self.parts}:
            return
        (of_pairs,) = OF_PAIRS
        with self.engine.connect() as connection:
            if not reuse.has_part(connection, self.handle.run_id, of_pairs):
                raise InputError(
                    f"{standing[0]} stands on the matches of neurons, which this run does not have; name {of_pairs} as well: "
                    f"--only {','.join([of_pairs, *self.parts])}."
                )

    def _stored(self, progress: Progress) -> RunPlan | None:
        with self.engine.connect() as connection:
            stored = stored_plan(connection, self.handle.run_id)
            states = jobs.states(connection, self.handle.run_id)
            kept = jobs.has_results(connection, self.handle.run_id)
        if stored is None or (stored.models, stored.definitions) != (self.inputs.identities, self.definitions):
            return None
        # what a publication has taken is not there for another, which has parts by a newer definition
        begun = kept and any(s.done and stored.plan.jobs[s.job].kind != "pivots" for s in states)
        begun = begun or self.store().has_checkpoints()
        needed = max((stored.plan.bytes_needed(stored.plan.jobs[s.job]) for s in states if not s.done), default=0)
        if not begun or needed > self.inputs.memory_bytes:
            return None
        if needed:
            progress.say(f"{sum(state.done for state in states)} of {len(states)} jobs are done already, the rest goes on")
        return stored

    def _new_plan(self, progress: Progress) -> RunPlan:
        known = self._known()
        work = self._work(known)
        corpus = self.inputs.corpus
        topics = self._topics(known, progress) if corpus is not None and "topics" in self.parts else None
        plan = make_plan(
            work,
            [model_shape(checkpoint.config) for checkpoint in self.inputs.checkpoints],
            self._corpus_shape(topics),
            self.inputs.memory_bytes,
            self.settings.at_least_jobs,
        )
        plan = with_second_reading(plan, work, self.settings, self.inputs.memory_bytes)
        planned = with_measures(plan, work, self.settings, self.inputs.memory_bytes, self.inputs.checkpoints)
        return RunPlan(planned, work, known, self.inputs.identities, self.definitions, topics)

    def _corpus_shape(self, topics: Topics | None) -> CorpusShape:
        corpus = self.inputs.corpus
        if corpus is None:
            return CorpusShape(0, self.inputs.context)
        features = features_of(self.inputs, topics) if "vocabulary" in self.parts else None
        return CorpusShape(
            corpus.n_rows,
            self.inputs.context,
            corpus.n_subsets,
            n_topics=0 if topics is None else len(topics.topics),
            ngram_tokens=self.settings.ngram_tokens,
            n_divisions=0 if features is None else features.n_divisions,
            begins_with_bos=self.inputs.start.with_bos,
            n_ids=len(corpus.ids),
        )

    def _topics(self, known: reuse.Known, progress: Progress) -> Topics:
        """Those of the file, of the run whose results are used again, or those of the corpus."""
        if self.topics is not None:
            return self.topics
        corpus, n_tokens = self.inputs.describing_corpus, self.inputs.tokenizer.n_tokens
        assert corpus is not None
        if self.settings.topics is not None:
            return Topics(BY_FILE, read_topics(Path(self.settings.topics), n_tokens))
        if known.models:
            earlier = reuse.topics_of(self.engine, max(known.models.values()))
            return Topics(BY_MACHINE, [Topic(name, ids) for name, ids in earlier])
        progress.phase("find topics", None, "topics")
        counts = row_counts(corpus, n_tokens)
        topics = Topics(BY_MACHINE, topic_model(counts, self.inputs.tokenizer.texts))
        progress.advance(len(topics.topics))
        return topics

    def _known(self) -> reuse.Known:
        """Models and pairs that an earlier run with equal tokens, settings and definitions has published."""
        if self.settings.again or self.inputs.corpus is None:
            return reuse.Known({}, {})
        return reuse.known_results(
            self.engine,
            self.inputs.model_keys,
            token_sha256=self.inputs.corpus.token_sha256,
            settings=run_settings(self.settings, self.inputs.context, self.inputs.start.with_bos),
            definitions=self.definitions,
            except_run=self.handle.run_id,
        )

    def _work(self, known: reuse.Known) -> Work:
        models = range(len(self.inputs.checkpoints))
        return Work.of(
            self.parts,
            len(models),
            known_models=[model for model in models if self.inputs.identities[model] in known.models],
            known_pairs=[(a, b) for a, b in combinations(models, 2) if self.inputs.pair_key(a, b) in known.pairs],
        )
