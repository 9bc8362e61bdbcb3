"""Whether what is remembered of files is what they hold; that they were read has corrected it by the time that it is told."""

from catalog.errors import CatalogError
from catalog.verify.checks import Finding
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.behaviour import changed
from ingest.checkpoints.first_looks import context_length
from ingest.corpus.bos import agreed, row_start
from ingest.corpus.meta import CorpusMeta
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.inputs import Inputs
from ingest.remembered.inputs import ModelFacts, facts_of, recall_corpus, recall_model
from ingest.settings import IngestSettings

SUBJECT = "what is remembered of models and corpus is what their files hold"


class Memory:
    """What is remembered of models and corpus before they are read."""

    def __init__(self, settings: IngestSettings) -> None:
        self._models: list[ModelFacts | None] = []
        self._corpus: CorpusMeta | None = None
        try:
            self._models = [recall_model(parse_model_argument(argument)) for argument in settings.models]
            known = [facts for facts in self._models if facts is not None]
            if known and settings.needs_corpus:
                context = context_length(settings.context, [facts.n_ctx for facts in known])
                start = row_start(settings.bos, agreed(settings.bos, [facts.bos for facts in known]))
                self._corpus = recall_corpus(settings, known[0].tokenizer_sha256, context, start.bos_id)
        except CatalogError:  # reading them will say so
            return

    def compare(self, inputs: Inputs) -> list[Finding]:
        """One finding, or none if nothing was remembered.

        Args:
            inputs: what was read, models in the order of the settings.
        """
        lies = []
        for facts, checkpoint in zip(self._models, inputs.opened, strict=False):
            lie = "" if facts is None else _lie(facts, facts_of(checkpoint, tokenizer_identity(checkpoint.tokenizer)))
            if lie:
                lies.append(f"{checkpoint.name} was remembered wrongly (it has {lie})")
        corpus = inputs.describing_corpus
        if self._corpus is not None and corpus is not None and self._corpus != corpus.meta:
            lies.append(f"the corpus {corpus.meta.source} was remembered wrongly")
        if self._corpus is None and not any(self._models):
            return []
        told = "; ".join(lies) + "; it is remembered rightly now" if lies else ""
        return [Finding("memory", SUBJECT, "differs" if lies else "ok", told)]


def _lie(remembered: ModelFacts, read: ModelFacts) -> str:
    """What a checkpoint has otherwise than remembered, in words; empty if nothing."""
    said = changed(read.identity, remembered.weights_sha256, remembered.behaviour)
    if not said and remembered.tokenizer_sha256 != read.tokenizer_sha256:
        said = "another tokenizer"
    return said or ("" if remembered == read else "another context or newline")
