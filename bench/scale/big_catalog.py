"""A big catalog of models that never existed, written by the real way: COPY from arrays, staging, publication.

At scale 1: 10 models of 24 layers x 4096 neurons and 8 runs of five of them with 100 million pairs, two of them superseded;
four of the runs, the newest three among them, have 5 million explanations and 1 million labels of every family. A build that
was interrupted is taken up again at its run.

    python -m bench.scale.big_catalog --home /tmp/big --scale 0.1
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine, text

from bench.report import machine
from bench.scale import synthetic, synthetic_causes
from bench.scale.synthetic import FAMILIES, FEATURES, Family
from catalog.rows import Definition, GroupRow, ModelIds, PublishRows, RunSpec
from catalog.runs.handle import RunHandle
from catalog.runs.life import begin_run
from cli.markdown import table

N_MODELS, TOP_TOKENS, EFFECTS = 10, 3, 2
MORE_PARTS = ("vocabulary", "syntax", "positions", "distributions", "ngrams")


@dataclass(frozen=True)
class Plan:
    """A run of the catalog: what it covers and in what detail."""

    identity: str
    models: tuple[int, ...]
    k: int = 5
    vocabulary: bool = False
    """Explanations, letters, top tokens, logit effects, and what there is of positions, subsets, BOS and n-grams as well."""
    corpus: int = 0


def _window(first: int) -> tuple[int, ...]:
    return tuple(sorted((first + i) % N_MODELS for i in range(5)))


PLANS = (
    Plan("first half", _window(0), vocabulary=True),
    Plan("second half", _window(5)),
    Plan("corpus 1, from c", _window(2), k=7, corpus=1),
    Plan("corpus 1, from h", _window(7), k=7, corpus=1),
    Plan("corpus 2, from e", _window(4), k=7, corpus=2),
    Plan("first half", _window(0), k=7, vocabulary=True),
    Plan("second half", _window(5), k=7, vocabulary=True),
    Plan("corpus 3, from d", _window(3), k=6, vocabulary=True, corpus=3),
)
"""The runs in order; the sixth and the seventh supersede the first two, and the last three are what readers see."""


def build(engine: Engine, scale: float, seed: int = 0, plans: Sequence[Plan] = PLANS) -> list[dict[str, float]]:
    """Publish the runs that are still missing; what each has cost, one row per run."""
    family = Family(N_MODELS, max(2, round(synthetic.D_MLP * scale)), seed)
    costs = []
    with engine.connect() as connection:
        done = connection.execute(text("SELECT count(*) FROM runs WHERE status = 'published'")).scalar_one()
    for number, plan in list(enumerate(plans))[done:]:
        start = time.perf_counter()
        with begin_run(engine, spec_of(plan)) as handle:
            rows, staged = stage(handle, family, plan, number, scale)
            after_staging = time.perf_counter()
            handle.set_phase("publish")
            handle.publish(rows)
            cost = {"run": handle.run_id, "rows": staged, "stage s": after_staging - start}
        cost["publish s"] = time.perf_counter() - after_staging
        print(cost, file=sys.stderr, flush=True)
        costs.append(cost)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))
    return costs


def spec_of(plan: Plan) -> RunSpec:
    """What the run is recorded as."""
    names = ("weights", "activations", "correlations", *(MORE_PARTS if plan.vocabulary else ()))
    return RunSpec(plan.identity, {"seed": 0, "k": plan.k}, dict.fromkeys(names, 1), "0" * 40, "none", "synthetic", {})


def stage(handle: RunHandle, family: Family, plan: Plan, number: int, scale: float) -> tuple[PublishRows, int]:
    """Stage all tables of a run; what is left to write at publication, and the number of rows staged."""
    n_tokens = max(256, round(50_257 * scale))
    models = [family.model_row(model, n_tokens) for model in plan.models]
    ids = handle.reserve(models, synthetic.tokenizer(n_tokens).sha256)
    feature_ids = handle.feature_ids(FEATURES)
    handle.set_phase("stage")
    n_rows = 0
    for model, model_ids in zip(plan.models, ids, strict=True):
        for name, columns in synthetic.rows_of_model(family, model, number).items():
            n_rows += handle.stage(name, {"neuron_id": model_ids.neuron_ids, **columns})
        if plan.vocabulary:
            n_rows += _stage_causes(handle, family, model, model_ids, n_tokens, number)
            n_rows += _stage_vocabulary(handle, family, model, model_ids, feature_ids, n_tokens, number)
        n_rows += _stage_correlations(handle, family, plan, model, dict(zip(plan.models, ids, strict=True)), number)
    rows = PublishRows(
        models=list(zip(models, ids, strict=True)),
        tokenizer=synthetic.tokenizer(n_tokens),
        corpus=synthetic.corpus(plan.corpus, n_tokens),
        features=list(FEATURES) if plan.vocabulary else [],
        feature_ids=feature_ids,
        feature_tokens=_feature_tokens() if plan.vocabulary else {},
        statistics_run_of={model_ids.model_id: handle.run_id for model_ids in ids},
        pair_run_of={(a.model_id, b.model_id): handle.run_id for a in ids for b in ids if a.model_id < b.model_id},
        groups=_groups(family, plan, ids),
        parts={part: Definition(version) for part, version in spec_of(plan).definition_versions.items()},
    )
    return rows, n_rows


def _feature_tokens() -> dict[str, np.ndarray]:
    """A token of each feature that is one of tokens."""
    of_tokens = [feature for feature in FEATURES if feature.family in ("symbol", "unigram")]
    return {feature.name: np.array([2 + feature.ordinal], dtype=np.int32) for feature in of_tokens}


def _stage_causes(handle: RunHandle, family: Family, model: int, model_ids: ModelIds, n_tokens: int, number: int) -> int:
    n_rows = 0
    for name, columns in synthetic_causes.rows_of_causes(family, model, number, n_tokens).items():
        neurons = model_ids.neuron_ids[columns.pop("neuron")]
        n_rows += handle.stage(name, {"neuron_id": neurons, **columns})
    return n_rows


def _stage_correlations(
    handle: RunHandle, family: Family, plan: Plan, model: int, ids: dict[int, ModelIds], number: int
) -> int:
    n, k, neurons = family.n, plan.k, ids[model].neuron_ids
    generator = family.generator(8, model, number)
    n_rows, best, base = 0, [], []
    for other in plan.models:
        if other == model:
            continue
        partner, correlation, mutual = synthetic.partners(family, model, other, k, number)
        other_id = np.full(n * k, ids[other].model_id, dtype=np.int32)
        first = np.zeros((n, k), dtype=bool)
        first[:, 0] = mutual
        pairs = {
            "neuron_id": np.repeat(neurons, k), "other_neuron_id": ids[other].neuron_ids[partner].ravel(),
            "other_model_id": other_id, "correlation": correlation.ravel(),
            "correlation_se": np.full(correlation.size, synthetic.CORR_SE, dtype=np.float32),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int16), n), "mutual_best": first.ravel(),
        }  # fmt: skip
        baseline = (0.22 + 0.01 * generator.standard_normal(n)).astype(np.float32)
        by_model = {
            "neuron_id": neurons, "other_model_id": other_id[:n], "max_corr": correlation[:, 0],
            "other_neuron_id": ids[other].neuron_ids[partner[:, 0]], "baseline": baseline,
            "baseline_sd": np.full(n, synthetic.DRAWS_SD, dtype=np.float32),
            "baseline_se": np.full(n, synthetic.BASELINE_SE, dtype=np.float32),
            "max_corr_se": np.full(n, synthetic.CORR_SE, dtype=np.float32),
            "without_blocks": np.tile(synthetic.WITHOUT_BLOCKS.astype(np.float32), (n, 1)),
            "baseline_without_blocks": np.zeros((n, synthetic.N_BLOCKS), dtype=np.float32),
            "baseline_layer": generator.integers(0, synthetic.N_LAYERS, n).astype(np.int16),
            "diag_corr": (0.05 * generator.standard_normal(n)).astype(np.float32).clip(-1, 1), "mutual_best": mutual,
        }  # fmt: skip
        n_rows += handle.stage("pairs", pairs) + handle.stage("universality_by_model", by_model)
        best.append(correlation[:, 0].astype(np.float64))
        base.append(baseline.astype(np.float64))
    return n_rows + handle.stage("universality", {"neuron_id": neurons, **_universality(np.array(best), np.array(base))})


def _universality(best: np.ndarray, base: np.ndarray) -> dict[str, np.ndarray]:
    """Columns over the other models, from (others, n) best correlations and baselines."""
    others, n = best.shape
    summaries: dict[str, Callable[..., np.ndarray]] = {"max": np.max, "mean": np.mean, "min": np.min}
    return {
        **{f"{name}_corr": take(best, axis=0) for name, take in summaries.items()},
        **{f"{name}_baseline": take(base, axis=0) for name, take in summaries.items()},
        "excess_corr": best.mean(axis=0) - base.mean(axis=0),
        "mean_corr_se": np.full(n, synthetic.CORR_SE),
        "excess_se": np.full(n, np.hypot(synthetic.CORR_SE, synthetic.BASELINE_SE / np.sqrt(others))),
        "n_models": np.full(n, others, dtype=np.int16),
        "n_degenerate": np.zeros(n, dtype=np.int16),
    }


def _stage_vocabulary(
    handle: RunHandle, family: Family, model: int, model_ids: ModelIds, features: dict[str, int], n_tokens: int, number: int
) -> int:
    n, latents = family.n, family.order(model)
    kind, subtype = family.kind[latents], family.subtype[latents]
    generator = family.generator(9, model, number)
    keys = np.array([features[feature.name] for feature in FEATURES], dtype=np.int32)
    labelled = np.isin(kind, [FAMILIES.index(name) for name in synthetic.BY_FEATURE])
    previous = kind == FAMILIES.index("previous_token")
    score = np.where(labelled, generator.uniform(0.5, 0.98, n), generator.beta(1, 8, n) * 0.19)
    n_rows = 0
    for rank, share in ((1, 1.0), (2, 1.0), (3, 0.55)):
        chosen = generator.random(n) < share
        m = int(chosen.sum())
        n_rows += handle.stage("explanations", {
            "neuron_id": model_ids.neuron_ids[chosen], "feature_id": keys[(subtype[chosen] + rank - 1) % len(keys)],
            "shift": np.where(previous[chosen], "previous", "current").astype(object),
            **synthetic.scores(score[chosen] * 0.7 ** (rank - 1)), "n_in": np.full(m, 10_000, dtype=np.int64),
            "n_out": np.full(m, 98_990_000, dtype=np.int64), "mean_in": np.full(m, 2.0), "mean_out": np.full(m, 0.1),
            "cohen_d": generator.normal(1, 0.3, m), "rank": np.full(m, rank, dtype=np.int32),
            **synthetic.directions((kind[chosen] == FAMILIES.index("context")) & (latents[chosen] % 4 == 0)),
        })  # fmt: skip
    letter = subtype % len(synthetic.LETTERS)
    n_rows += handle.stage("letter_scores", {
        "neuron_id": model_ids.neuron_ids, "letter": np.array(list(synthetic.LETTERS), dtype=object)[letter],
        "feature_id": keys[len(synthetic.CLASSES) + letter],
        **synthetic.scores(np.where(kind == FAMILIES.index("alphabet"), score, 0.3 * generator.random(n))),
        "mean_a": np.full(n, 3.0), "mean_b": np.full(n, 2.0), "mean_c": np.full(n, 1.0),
    })  # fmt: skip
    return n_rows + _stage_tokens(handle, model_ids, n_tokens, generator)


def _stage_tokens(handle: RunHandle, model_ids: ModelIds, n_tokens: int, generator: np.random.Generator) -> int:
    n, n_rows = len(model_ids.neuron_ids), 0

    def ranked(k: int) -> dict[str, np.ndarray]:
        return {
            "neuron_id": np.repeat(model_ids.neuron_ids, k),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int16), n),
            "token_id": generator.integers(2, n_tokens, n * k).astype(np.int32),
        }

    more = {"mean": np.tile(np.linspace(3, 1, TOP_TOKENS), n), "n": np.full(n * TOP_TOKENS, 1000, dtype=np.int64)}
    n_rows += handle.stage("top_tokens", ranked(TOP_TOKENS) | more)
    for direction, sign in (("promoted", 1), ("suppressed", -1)):
        effect = np.tile(sign * np.linspace(0.9, 0.5, EFFECTS), n).astype(np.float32)
        direction_column = np.full(n * EFFECTS, direction, dtype=object)
        n_rows += handle.stage("logit_effects", ranked(EFFECTS) | {"direction": direction_column, "effect": effect})
    return n_rows


def _groups(family: Family, plan: Plan, ids: list[ModelIds]) -> list[GroupRow]:
    """A clique per universal latent, of two to five models."""
    generator = family.generator(10, plan.corpus, plan.k)
    places = [np.argsort(family.order(model)) for model in plan.models]
    latents = np.flatnonzero(family.excess > 0.5)
    sizes, lowest = generator.integers(2, len(ids) + 1, len(latents)), generator.uniform(0.5, 0.95, len(latents))
    return [
        GroupRow(np.array([one.neuron_ids[place[latent]] for one, place in zip(ids[:size], places, strict=False)]), float(low))
        for latent, size, low in zip(latents, sizes, lowest, strict=True)
    ]


def sizes(engine: Engine) -> list[dict[str, object]]:
    """Rows, bytes in the heap and in indexes of each table; partitions of pairs together."""
    statement = """
        SELECT CASE WHEN c.relname ~ '^pairs_run_' THEN 'pairs' ELSE c.relname END AS name, sum(c.reltuples)::bigint AS n,
               sum(pg_table_size(c.oid))::bigint AS heap, sum(pg_indexes_size(c.oid))::bigint AS indexes
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.reltuples > 0
        GROUP BY 1 ORDER BY 3 DESC"""
    with engine.connect() as connection:
        return [
            {
                "table": row.name, "rows": row.n, "heap MB": row.heap / 1e6, "indexes MB": row.indexes / 1e6,
                "bytes per row": (row.heap + row.indexes) / row.n,
            }
            for row in connection.execute(text(statement))
        ]  # fmt: skip


def opened(arguments: argparse.Namespace) -> Engine:
    """The engine of `--url`, or of an embedded server in `--home`, with the newest schema."""
    from catalog.server import migrate
    from catalog.server.engine import writer_engine

    if arguments.url is None:
        os.environ.pop("CATALOG_DATABASE_URL", None)
        os.environ["CATALOG_HOME"] = arguments.home
    engine = writer_engine(arguments.url)
    migrate.upgrade(engine)
    return engine


def database_options(parser: argparse.ArgumentParser) -> None:
    """Where the big catalog is."""
    parser.add_argument("--url", help="a database of your own; it should be empty")
    parser.add_argument("--home", default="big-catalog", help="folder of the embedded server, if no --url")


def main() -> None:
    """Build the catalog and say what it has cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    database_options(parser)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 4096 neurons per layer")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    engine = opened(arguments)
    costs = build(engine, arguments.scale, arguments.seed)
    print(table([machine()]), table(costs), table(sizes(engine)), sep="\n")


if __name__ == "__main__":
    main()
