"""What acceptance tests share: small inputs, an ingest in this process, and the contract views without keys."""

from pathlib import Path

import pandas as pd
from sqlalchemy import create_engine, make_url, text

from catalog import parts
from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.settings import IngestReport, IngestSettings
from tests import factories
from tests.candidates import make_candidate

CONTRACT = {
    "neuron_profiles": "model, layer, neuron",
    "neuron_matches": "model, layer, neuron, other_model, rank",
    "neuron_labels": "model, layer, neuron, family, subtype",
    "neuron_explanations": "model, layer, neuron, rank, feature, shift",
    "neuron_universality_by_model": "model, layer, neuron, other_model",
    "family_counts": "model, family",
    "family_counts_by_layer": "model, layer, family",
    "depth_matrix": "model, layer, other_layer",
    "layer_profiles": "model, layer",
    "position_neurons": "model, layer, neuron",
    "position_teams": "model, layer",
    "ngram_coverage": "model, layer, neuron",
    "ngram_coverage_by_half": "model, half, n, bucket",
    "token_detectors": "model, layer, neuron, n",
    "covered_tokens_by_layer": "model, layer",
    "dead_neurons": "model, layer, neuron",
    "bos_neurons": "model, layer, neuron",
    "neuron_gates": "model, layer, neuron",
    "neuron_subsets": "model, layer, neuron, subset",
    "topics": "model, ordinal",
    "neuron_next_tokens": "model, layer, neuron, rank",
    "neuron_group_members": "model, layer, neuron",
    "neuron_substitutions": "model, layer, neuron, kind, other_model",
    "substitution_summary": "model, universal, kind",
    "prediction_neurons": "model, layer, neuron",
    "neuron_logit_explanations": "model, layer, neuron, rank",
    "logit_ensembles": "model, layer, neuron",
    "prediction_profiles": "model, layer, statistic",
    "prediction_profiles_over_seeds": "family, layer, statistic, percentile",
    "neuron_interventions": "model, layer, neuron, together, kind, value, n_rows",
    "entropy_neurons": "model, layer, neuron",
    "neuron_confidence": "model, layer, neuron",
    "model_confidence": "model",
    "token_frequency_candidates": "model, layer, neuron",
    "token_frequency_neurons": "model, layer, neuron",
    "attention_neurons": "model, layer, neuron, class",
    "neuron_head_scores": "model, layer, neuron, head_layer, head",
    "head_summaries": "model, head_layer, head",
    "neuron_head_compositions": "model, layer, neuron, head_layer, head",
    "neuron_path_ablations": "model, layer, neuron, head_layer, head, x, y, n_rows",
    "prediction_activity": "model, layer, neuron",
    "neuron_similarities": "model, layer, neuron, kind, opposite, rank",
    "antipodal_pairs": "model, layer, neuron",
    "duplicate_neurons": "model, layer, neuron",
    "universal_neuron_properties": "model, layer, neuron",
    "cosine_frequency": "model",
    "io_classes": "model, layer, neuron",
    "io_class_counts": "model, layer, class",
    "redundancy_universality": "model, kind, opposite",
}
"""The views of the public contract, and a total order of each."""

KEYS = ("run_id", "neuron_id", "other_neuron_id", "group_id", "feature_id")
"""Columns that differ between two runs of the same thing."""


PARTS = parts.names()
ROLES = parts.groups()["roles"]
BUT_SYNTAX = tuple(part for part in PARTS if part != "syntax")
"""The parts that need no spaCy, whose loading takes longer than these small ingests."""

OF_ONE = tuple(part for part in BUT_SYNTAX if part not in parts.of_several_models(BUT_SYNTAX))
"""Those of them that one model alone can have."""

SUMS = tuple(part for part in BUT_SYNTAX if part not in ROLES)
"""Those of them that a plan, a worker or a batch could change; what neurons do is computed apart from these."""


FEW_TOKENS = 1000
"""On which neurons are held and ablated: the engines have tests of their own."""


def run_ingest(url: str, models: list[Path | str], corpus: Path | None, **settings: object) -> IngestReport:
    """An ingest in this process, of what sums over activations without syntax or controls, unless more is asked for."""
    settings.setdefault("only", SUMS)
    settings.setdefault("intervention_tokens", FEW_TOKENS)
    settings.setdefault("ablation_pairs", 2)
    settings.setdefault("controls", 0)
    settings.setdefault("substitution_tokens", FEW_TOKENS)
    settings.setdefault("substitution_neurons", 4)
    return ingest(
        IngestSettings(
            models=tuple(map(str, models)), corpus=None if corpus is None else str(corpus), database_url=url, **settings
        ),
        Silent(),
    )


def rows(url: str, statement: str, **values: object) -> list[tuple]:
    """The rows of a statement."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]
    finally:
        engine.dispose()


def contract(url: str, run: int | None = None) -> dict[str, pd.DataFrame]:
    """Every view of the contract as a frame without keys; `run` asks schema history for one run."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    source, condition = ("public", "") if run is None else ("history", f"WHERE run_id = {run}")
    try:
        with engine.connect() as connection:
            frames = {
                name: pd.read_sql(text(f"SELECT * FROM {source}.{name} {condition} ORDER BY {order}"), connection)
                for name, order in CONTRACT.items()
            }
    finally:
        engine.dispose()
    return {name: frame.drop(columns=[key for key in KEYS if key in frame]) for name, frame in frames.items()}


PARTNERS = ["other_layer", "other_neuron"]
"""Of candidates within 1e-5 either may come first, so partners are compared apart."""
SWAPPED_PARTNERS = 1e-3
"""Share of other partners that may differ, such as those of the last rank; their correlations may not."""
OF_A_RANKING = ("model", "layer", "neuron", "other_model", "kind", "opposite")


def assert_same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    """Equal up to 1e-5, the bound for different plans; evidence and rule texts included."""
    for name in CONTRACT:
        left, right = one[name], other[name]
        if set(PARTNERS) <= set(left):
            differ = (left[PARTNERS].fillna(-1) != right[PARTNERS].fillna(-1)).any(axis=1) & ~_tied(left)
            assert differ.sum() <= SWAPPED_PARTNERS * len(left), f"{name}: {differ.sum()} partners differ"
            left, right = left.drop(columns=PARTNERS), right.drop(columns=PARTNERS)
        pd.testing.assert_frame_equal(left, right, rtol=1e-5, atol=1e-5, obj=name)


def _tied(matches: pd.DataFrame) -> pd.Series:
    """Rows, ordered by rank, whose partner is as good as the one before or after, up to the bound."""
    value = next((name for name in ("correlation", "cosine") if name in matches), None)
    if value is None or "rank" not in matches:
        return pd.Series(False, index=matches.index)
    ranked = matches.groupby([name for name in OF_A_RANKING if name in matches], dropna=False)[value]
    return (ranked.diff().abs() <= 1e-5) | (ranked.diff(-1).abs() <= 1e-5)


def tiny_family(folder: Path, names: str = "abc", **shape: int) -> list[Path]:
    """Random GPT-2s of one tokenizer."""
    tokenizer = factories.byte_bpe_tokenizer()
    return [factories.tiny_gpt2(folder / f"tiny-{name}", seed, tokenizer, **shape) for seed, name in enumerate(names)]


def with_candidates(models: list[Path]) -> list[Path]:
    """The models, each with a candidate for an entropy neuron, so that there is something to hold."""
    for model in models:
        make_candidate(model)
    return models


def small_corpus(folder: Path, n_documents: int = 120) -> Path:
    """Documents of two subsets."""
    texts = factories.random_texts(n_documents)
    return factories.write_jsonl(
        folder / "corpus.jsonl", [{"text": text, "subset": ("one", "two")[i % 2]} for i, text in enumerate(texts)]
    )
