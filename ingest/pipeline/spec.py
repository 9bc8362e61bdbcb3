"""What a run is recorded as, and what those who do its jobs are asked for: everything that is needed to repeat it."""

from dataclasses import replace

from catalog.rows import RunSpec
from ingest.corpus import told
from ingest.identity import code_version, parts_by_setting, run_identity, run_settings, versions_of
from ingest.inputs import Inputs
from ingest.settings import IngestSettings, recorded


def spec_of(settings: IngestSettings, inputs: Inputs, missing: tuple[str, ...]) -> RunSpec:
    """The record of a run.

    Args:
        missing: parts that are to be computed.
    """
    token_sha256 = inputs.corpus.token_sha256 if inputs.corpus is not None else None
    # whoever reads the inputs again, or some of them, has rows begin alike
    asked = recorded(replace(settings, only=missing, bos="always" if inputs.start.with_bos else "never"), inputs.arguments)
    of_parts = parts_by_setting()
    record = {
        **run_settings(settings, inputs.context, inputs.start.with_bos),
        "models": list(settings.models),
        "model_identities": inputs.identities,
        "corpus": settings.corpus,
        "token_sha256": token_sha256,
        "max_tokens": settings.max_tokens,
        "bos": inputs.start.record(),
        "read": None if inputs.corpus is None else told.record(inputs.corpus.meta),
        "read_as": {name: value for name, value in asked.items() if name not in of_parts},
    }
    tokenizer, with_bos = inputs.tokenizer.sha256, inputs.start.with_bos
    return RunSpec(
        identity=run_identity(inputs.identities, tokenizer, token_sha256, settings, inputs.context, with_bos),
        settings=record,
        definition_versions=versions_of(missing),
        code_version=code_version(),
        device=inputs.device_description,
        model_family=settings.model_family,
        asked=asked,
    )
