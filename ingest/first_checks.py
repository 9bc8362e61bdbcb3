"""What can be told to be wrong before torch is imported, which takes seconds: models, corpus, parts, ranges, devices.

Whether a CUDA device is there, and whether files hold what they should, is found later. The command line asks these
questions before it imports what computes; what computes asks them again, for those who call it from Python.
"""

import json
from contextlib import suppress
from pathlib import Path

from catalog.errors import InputError
from catalog.settings import home
from ingest.checkpoints.first_looks import check_models
from ingest.checkpoints.hub import ask_hub
from ingest.corpus.files import CorpusSource, check_source
from ingest.settings import IngestSettings


def check_ingest(settings: IngestSettings) -> None:
    """Raises:
    InputError: a setting outside its range, or a model, corpus, pipeline, file or folder that cannot be used.
    """
    settings.validate()
    if "syntax" in settings.parts:
        from ingest.corpus.syntax.annotate import check_installed

        check_installed(settings.spacy_model)
    if settings.topics is not None and "topics" in settings.parts:
        from ingest.features.topic_files import read_topics

        read_topics(Path(settings.topics))
    if settings.staging is not None:
        from ingest.jobs.staging_folder import check_writable

        check_writable(settings.staging_folder)
    check_models(settings.models, settings.parts, settings.context)
    if settings.needs_corpus:
        check_corpus(settings)


def check_plan(settings: IngestSettings) -> None:
    """Raises:
    InputError: a setting outside its range, a model or corpus that cannot be used, or nothing to say how much is read.
    """
    settings.validate(corpus_needed=False)
    if settings.needs_corpus and settings.corpus is None and settings.max_tokens is None:
        raise InputError("a plan needs the number of tokens; give --corpus, or --max-tokens for a corpus of any kind.")
    check_models(settings.models, settings.parts, settings.context, only_configurations=settings.corpus is None)
    if settings.corpus is not None and settings.needs_corpus:
        check_corpus(settings)


def check_corpus(settings: IngestSettings) -> None:
    """Raises:
    InputError: there is no such file or folder, nothing in it that can be read, or no such data set on the hub.
    """
    source = settings.corpus_source
    assert source is not None
    if check_source(source) is not None:
        return
    answer = ask_hub("dataset", source.location, source.revision)
    if answer.state in ("there", "unknown") or _was_read(source):
        return
    if answer.state == "absent":
        raise InputError(
            f"there is no corpus {source.location!r} here, nor a data set of that name on the hub that may be read; give a "
            "JSON Lines or Parquet file, or a hub name."
        )
    raise InputError(
        f"there is no corpus {source.location!r} here, and the hub cannot be asked for such a data set ({answer.reason}); give "
        "a JSON Lines or Parquet file."
    )


def _was_read(source: CorpusSource) -> bool:
    """Whether rows of a data set on the hub, or the data set itself, are kept here."""
    from huggingface_hub import constants

    if (Path(constants.HF_HUB_CACHE) / f"datasets--{source.location.replace('/', '--')}").is_dir():
        return True
    for meta in (home() / "corpora").glob("*/meta.json"):
        with suppress(OSError, ValueError, AttributeError):
            if json.loads(meta.read_text()).get("source") == source.location:
                return True
    return False
