"""How one neuron's activations are distributed: quantiles, BOS, positions, subsets, n-grams, next tokens."""

from typing import Any

from sqlalchemy import Connection, text

from catalog.answers import FLOAT8, Rows, Values, ask
from catalog.words import QUANTILES

_POSITION = ("mutual_information", "pattern", "strength", "alternations", "coverage", "predictability", "runs", "curve")


def quantiles_and_bos(connection: Connection, values: Values) -> tuple[Rows, Rows]:
    """One row per quantile: percent, pre, post; and one row on BOS: bos_activation, bos_ratio."""
    found = connection.execute(
        text("SELECT * FROM distribution_statistics WHERE run_id = :run AND neuron_id = :neuron"), values
    ).first()
    row: dict[str, Any] = {} if found is None else dict(found._mapping)
    shares = [
        (float(share), *(row[f"{kind}_p{share.replace('.', '_')}"] for kind in ("pre", "post"))) for share in QUANTILES if row
    ]
    bos = [(row["bos_activation"], row["bos_ratio"])] if row else []
    return (
        Rows(("percent", "pre", "post"), (FLOAT8,) * 3, tuple(shares)),
        Rows(("bos_activation", "bos_ratio"), (FLOAT8,) * 2, tuple(bos)),
    )


def position(connection: Connection, values: Values) -> Rows:
    """How being active depends on the position: one row; see `catalog.schema.statistics.position_statistics`."""
    return ask(
        connection,
        f"SELECT {', '.join(_POSITION)} FROM position_statistics WHERE run_id = :run AND neuron_id = :neuron",
        values,
    )


def subsets(connection: Connection, values: Values) -> Rows:
    """One row per subset of the corpus: frequency, means, and what being in it explains."""
    return ask(
        connection,
        """SELECT subset, n_tokens, sparsity, mean, post_mean, variance_reduction FROM subset_statistics
           WHERE run_id = :run AND neuron_id = :neuron ORDER BY subset""",
        values,
    )


def ngrams(connection: Connection, values: Values) -> Rows:
    """Of tokens, bigrams and trigrams, how few hold 95 % of the activations: n, cover, activations, n_tokens."""
    return ask(
        connection,
        """SELECT v.n, v.cover, v.activations, s.n_tokens FROM ngram_statistics s
           CROSS JOIN LATERAL (VALUES (1, s.cover_1, s.activations_1), (2, s.cover_2, s.activations_2),
                                      (3, s.cover_3, s.activations_3)) AS v(n, cover, activations)
           WHERE s.run_id = :run AND s.neuron_id = :neuron ORDER BY v.n""",
        values,
    )


def next_tokens(connection: Connection, values: Values) -> Rows:
    """One row per class of next tokens before which the neuron differs most, the largest effect first."""
    return ask(
        connection,
        """SELECT s.rank, f.name AS feature, s.n_in, s.n_out, s.freq_in, s.freq_out, s.mean_in, s.mean_out, s.cohen_d
           FROM next_token_statistics s JOIN features f ON f.id = s.feature_id
           WHERE s.run_id = :run AND s.neuron_id = :neuron ORDER BY s.rank""",
        values,
    )
