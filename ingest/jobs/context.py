"""What all jobs of a run share, and how a job is stopped."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from catalog.runs import reuse
from ingest.corpus.batches import FeatureSource
from ingest.features.of_corpus import CorpusFeatures
from ingest.inputs import Inputs
from ingest.jobs.store import RunStore
from ingest.parts import needed_by
from ingest.parts.ground import Ground
from ingest.parts.moments import ModelMoments
from ingest.parts.partners import Partners
from ingest.plan.items import Plan
from ingest.settings import IngestSettings
from ingest.statistics.universality import BestMatches


@dataclass(frozen=True)
class JobContext:
    """What all jobs of a run share."""

    settings: IngestSettings
    inputs: Inputs
    plan: Plan
    store: RunStore
    features: CorpusFeatures | None
    """None where no corpus is read."""
    sources: Mapping[str, FeatureSource]
    """Features of positions that jobs ask for, by the name of the measure."""
    parts: tuple[str, ...]
    """Those that are computed."""
    known_pairs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Runs that have pairs which this one does not compute, by the smaller and the larger identity."""

    def ground(self, own_moments: Mapping[int, ModelMoments] | None = None) -> Ground:
        """What measures stand on, of which nothing is made yet.

        Args:
            own_moments: of models whose moments over all rows are at hand; those of others are read.
        """
        ground = ground_of(self.settings, self.inputs, self.features, self.store.results, self.parts, own_moments)
        return replace(ground, known_partners=self._known_partners)

    def _known_partners(self, model: int, other: int) -> Partners:
        """Of a pair that a published run has: an earlier one, or the very one that gets further parts."""
        run = self.known_pairs.get(self.inputs.pair_key(model, other), self.store.run_id)
        best, second = reuse.partners(self.store.engine, run, *(self.inputs.identities[one] for one in (model, other)))
        # nobody who chooses by partners asks how sure they are, and not all would know it by the same blocks
        matches = BestMatches(*best)
        unknown = matches.without[:, :0]
        return Partners(replace(matches, without=unknown, baseline_without=unknown), second)


def ground_of(
    settings: IngestSettings,
    inputs: Inputs,
    features: CorpusFeatures | None,
    results: Callable[[str], list[bytes]],
    parts: Collection[str],
    own_moments: Mapping[int, ModelMoments] | None = None,
) -> Ground:
    """What measures stand on, of which nothing is made yet."""
    return Ground(
        checkpoints=inputs.checkpoints,
        tokenizer=inputs.tokenizer,
        context=inputs.context,
        settings=settings,
        device=inputs.device,
        memory_bytes=inputs.memory_bytes,
        corpus_read=inputs.corpus,
        whole_corpus=inputs.whole_corpus,
        features_found=features,
        results=results,
        own_moments=own_moments or {},
        needed=needed_by(parts),
    )


Advance = Callable[[int], None]
"""Told of tokens that are done; may raise to end the job, after a checkpoint."""


class JobStopped(Exception):
    """The worker is asked to stop; the job is saved and goes back to the queue."""
