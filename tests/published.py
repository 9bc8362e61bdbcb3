"""A small published family of models that never existed, made by the real way of staging and publishing.

Three models of two layers of sixteen neurons. Neuron k of one model matches neuron k of the others; of those, 0.3, 1.2
and 1.10 are universal. 1.10 fires on the letter s, 1.2 on what follows a comma, 0.3 on digits, 0.0 never.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from sqlalchemy import Engine

from catalog.documents import DocumentCounts
from catalog.rows import (
    CorpusRow,
    Definition,
    FeatureRow,
    GroupRow,
    ModelRow,
    PublishRows,
    RunSpec,
    TensorRow,
    TokenizerRow,
    TokenRows,
)
from catalog.runs.handle import RunHandle
from catalog.runs.life import begin_run
from catalog.text import escape
from ingest.checkpoints.behaviour import ModelIdentity
from tests.published_corpus import TOKENS, corpus_tokens
from tests.published_rows import D_MLP, MODELS, N_LAYERS, UNIVERSAL, stage_neurons, stage_pairs

FEATURES = (
    FeatureRow("contains_comma", "symbol", 0, "the token contains a comma"),
    FeatureRow("is_digit", "numeric", 1, "the token is a digit"),
    FeatureRow("s_unigram", "unigram", 2, "the letter s, alone or after a space, of either case"),
)
TOKENIZER = TokenizerRow("f" * 64, len(TOKENS), 0, 1, list(TOKENS), [escape(raw) for raw in TOKENS])
FEATURE_TOKENS = {"contains_comma": [5], "is_digit": [6], "s_unigram": [2, 3, 10]}
PARTS = dict.fromkeys(
    ("weights", "activations", "correlations", "vocabulary", "positions", "distributions", "ngrams", "examples", "next_tokens"),
    Definition(),
)


def spec_of(identity: str, parts: dict[str, Definition] = PARTS) -> RunSpec:
    """What a run of the family is recorded as."""
    versions = {part: definition.version for part, definition in parts.items()}
    return RunSpec(identity, {"seed": 0}, versions, "0" * 40, "cpu", "pocket-gpt2", {})


def publish_small_family(engine: Engine, identity: str = "small family", names: Sequence[str] = MODELS) -> int:
    """Publish the family, or other seeds of it; the run's id."""
    with begin_run(engine, spec_of(identity)) as handle:
        rows = stage_small_family(handle, names)
        handle.set_phase("publish")
        handle.publish(rows)
        return handle.run_id


def stage_small_family(handle: RunHandle, names: Sequence[str] = MODELS) -> PublishRows:
    """Stage all tables; what is left to write at publication."""
    models = [_model(seed, name) for seed, name in enumerate(names)]
    ids = handle.reserve(models, TOKENIZER.sha256)
    feature_ids = handle.feature_ids(FEATURES)
    handle.set_phase("stage")
    for own in ids:
        stage_neurons(handle, own, feature_ids)
        stage_pairs(handle, own, [other for other in ids if other is not own])
    return PublishRows(
        models=list(zip(models, ids, strict=True)),
        tokenizer=TOKENIZER,
        corpus=_corpus(),
        features=list(FEATURES),
        feature_ids=feature_ids,
        feature_tokens={name: np.array(ids, dtype=np.int32) for name, ids in FEATURE_TOKENS.items()},
        statistics_run_of={own.model_id: handle.run_id for own in ids},
        pair_run_of={(a.model_id, b.model_id): handle.run_id for a in ids for b in ids if a.model_id < b.model_id},
        groups=[GroupRow(np.array([own.neuron_ids[k] for own in ids]), 0.9) for k in UNIVERSAL],
        parts=PARTS,
        tensors={own.model_id: tensors_of(row.name) for row, own in zip(models, ids, strict=True)},
    )


def tensors_of(name: str) -> list[TensorRow]:
    """A matrix of its own, and gains of one as every model has them."""
    matrix = hashlib.sha256(name.encode()).hexdigest()
    return [TensorRow("gain", (8,), hashlib.sha256(b"ones").hexdigest(), 1), TensorRow("matrix", (8, 16), matrix, 128)]


def weights_of(tensors: Sequence[TensorRow]) -> str:
    """A hash for a model that has these tensors."""
    return hashlib.sha256(json.dumps(tensors).encode()).hexdigest()


def identified(row: ModelRow) -> ModelRow:
    """A row of a model whose behaviour and identity follow from what else it says."""
    names = ("architecture", "activation_function", "n_layers", "d_model", "n_heads", "d_vocab", "n_ctx")
    behaviour = {name: value for name, value in row._asdict().items() if name in names}
    identity = ModelIdentity(row.weights_sha256, behaviour)
    return row._replace(behaviour=json.dumps(behaviour), identity=identity.sha256)


def _model(seed: int, name: str) -> ModelRow:
    row = ModelRow(
        name=name,
        revision="",
        model_family="pocket-gpt2",
        seed=seed,
        seed_varies="both",
        architecture="gpt2",
        activation_function="gelu_new",
        n_layers=N_LAYERS,
        d_model=8,
        d_mlp=D_MLP,
        n_heads=2,
        d_head=4,
        d_vocab=len(TOKENS),
        n_ctx=64,
        weights_sha256=weights_of(tensors_of(name)),
        behaviour="",
        identity="",
        weight_processing="folded",
        source=f"pocket/models/{name}",
    )
    return identified(row)


def _corpus() -> CorpusRow:
    counts = np.full(len(TOKENS), 1000, dtype=np.int64)
    return CorpusRow(
        name="small", source="small.jsonl", revision=None, split=None, context_length=64, n_rows=200, n_tokens=12800,
        n_kept=12000, token_sha256="e" * 64, subsets={"prose": 150, "code": 50}, token_counts=counts,
        read_rows=lambda numbers: TokenRows(corpus_tokens()[numbers], ["prose" if row < 150 else "code" for row in numbers]),
        documents=DocumentCounts(kept=90, repaired=1, null=2, not_text=3, empty=4, short=5), n_files_left_out=6,
        n_documents=80,
    )  # fmt: skip
