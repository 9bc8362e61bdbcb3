"""What somebody asked to have measured, as it is shown; where a run has measured the same itself, that is shown."""

from collections.abc import Sequence

from sqlalchemy import Connection

from catalog.answers import Rows, ask
from catalog.words import METRICS

_METRICS = ", ".join(f"v.{name}, v.delta_{name}, v.{name}_standard_error" for name in METRICS)


def interventions(
    connection: Connection,
    run_id: int,
    held: Sequence[tuple[int, str]],
    changes: Sequence[tuple[str, float]],
    n_rows: int,
) -> Rows:
    """Interventions over so many rows of the corpus, as `neuron_interventions` shows them.

    Args:
        held: the id of the first neuron of each set, and the others as LAYER.INDEX with commas.
        changes: kinds and values.
    """
    return ask(
        connection,
        f"""SELECT v.layer || '.' || v.neuron AS neuron, v.together, v.kind, v.value, v.purpose, v.n_tokens, {_METRICS},
                   v.kl, v.kl_standard_error
            FROM history.neuron_interventions v
            WHERE v.run_id = :run AND v.n_rows = :n_rows AND v.neuron_id = ANY(:neurons)
              AND (v.neuron_id, COALESCE(array_to_string(v.together, ','), '')) IN
                  (SELECT * FROM unnest(CAST(:neurons AS int[]), CAST(:others AS text[])))
              AND (v.kind, v.value) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:values AS double precision[])))
            ORDER BY v.layer, v.neuron, v.together NULLS FIRST, v.kind, v.value""",
        {
            "run": run_id,
            "n_rows": n_rows,
            "neurons": [neuron for neuron, _ in held],
            "others": [others for _, others in held],
            "kinds": [kind for kind, _ in changes],
            "values": [value for _, value in changes],
        },
    )


SHOWN_RELATIONS = (
    ("activation", "delta_p_bos"),
    ("activation", "fractional_o_norm"),
    ("delta_p_bos", "fractional_o_norm"),
)
"""What is set against what: the correlations of UN Fig. 8."""

_ABLATION = "p_bos delta_p_bos z_norm delta_z_norm o_norm delta_o_norm fractional_o_norm".split()
_CORRELATIONS = ", ".join(
    f"max(v.{kind}) FILTER (WHERE v.x = '{x}' AND v.y = '{y}') AS {kind}_{x}_{y}"
    for x, y in SHOWN_RELATIONS
    for kind in ("pearson", "spearman")
)
_SAME = ", ".join(
    f"v.{name}" for name in ("layer", "neuron", "head_layer", "head", "purpose", "n_tokens", "activation", *_ABLATION)
)


def ablations(
    connection: Connection, run_id: int, neuron_id: int, heads: Sequence[tuple[int, int]], n_rows: int
) -> Rows:
    """One row per head: what it does without the neuron, over so many rows of the corpus.

    The columns are neuron, head, purpose, n_tokens, activation and those of `neuron_path_ablations`, and the correlations
    `pearson_X_Y` and `spearman_X_Y` of SHOWN_RELATIONS; in order of layer and head.

    Args:
        heads: layer and head.
    """
    return ask(
        connection,
        f"""SELECT v.layer || '.' || v.neuron AS neuron, 'A' || v.head_layer || '.H' || v.head AS head, v.purpose, v.n_tokens,
                   v.activation, {", ".join(f"v.{name}" for name in _ABLATION)}, {_CORRELATIONS}
            FROM history.neuron_path_ablations v
            WHERE v.run_id = :run AND v.n_rows = :n_rows AND v.neuron_id = :neuron
              AND (v.head_layer, v.head) IN (SELECT * FROM unnest(CAST(:layers AS int[]), CAST(:heads AS int[])))
            GROUP BY {_SAME} ORDER BY v.head_layer, v.head""",
        {
            "run": run_id,
            "n_rows": n_rows,
            "neuron": neuron_id,
            "layers": [layer for layer, _ in heads],
            "heads": [head for _, head in heads],
        },
    )
