"""What must hold between the rows of a published run, as SQL: each statement selects what is against the rule.

What holds of every table follows from what its part says of the rows (`catalog.parts.part.Rows`); what else must hold, a part
says itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

from catalog import parts
from catalog.parts.part import OWN_NEURONS, Check, Rows


class PartCheck(NamedTuple):
    """A check, and the part of a run that has it; None: every run."""

    part: str | None
    check: Check


_SHAPE = """
SELECT m.name || ' with ' || count(n.id) || ' neurons instead of ' || m.n_layers * m.d_mlp AS what
  FROM run_models rm JOIN models m ON m.id = rm.model_id LEFT JOIN neurons n ON n.model_id = m.id
 WHERE rm.run_id = :run_id
 GROUP BY m.id
HAVING count(n.id) <> m.n_layers * m.d_mlp OR max(n.layer) >= m.n_layers OR max(n.index) >= m.d_mlp"""

# Over the models as they stand in the run; a part of other models was computed by another function, or from other weights.
_MODELS_OF_PARTS = """
SELECT p.part || CASE WHEN p.models_sha256 IS NULL THEN ', of models that were not recorded' ELSE ', of other models' END
       AS what
  FROM run_parts p
 WHERE p.run_id = :run_id AND p.models_sha256 IS DISTINCT FROM (
       SELECT encode(sha256(convert_to(string_agg(m.identity, E'\\n' ORDER BY m.identity COLLATE "C"), 'UTF8')), 'hex')
         FROM run_models rm JOIN models m ON m.id = rm.model_id WHERE rm.run_id = p.run_id)"""

_WEIGHTS = """
SELECT m.name AS what
  FROM run_models rm JOIN models m ON m.id = rm.model_id JOIN model_tensors t ON t.model_id = m.id
 WHERE rm.run_id = :run_id
 GROUP BY m.id
HAVING m.weights_sha256 <> encode(sha256(convert_to(string_agg(
         t.name || ' ' || array_to_string(t.shape, 'x') || ' ' || t.sha256, E'\\n' ORDER BY t.name COLLATE "C"),
       'UTF8')), 'hex')"""

_BEHAVIOUR = """
SELECT m.name AS what
  FROM run_models rm JOIN models m ON m.id = rm.model_id
 WHERE rm.run_id = :run_id
   AND (m.architecture, m.activation_function, m.n_layers, m.d_model, m.n_heads, m.d_vocab, m.n_ctx) IS DISTINCT FROM
       (m.behaviour ->> 'architecture', m.behaviour ->> 'activation_function', (m.behaviour ->> 'n_layers')::int,
        (m.behaviour ->> 'd_model')::int, (m.behaviour ->> 'n_heads')::int, (m.behaviour ->> 'd_vocab')::int,
        (m.behaviour ->> 'n_ctx')::int)"""


def _every_neuron(table: str) -> str:
    return f"""
SELECT CASE WHEN t.neuron_id IS NULL THEN 'neuron ' || n.id || ' without a row'
            ELSE 'a row of neuron ' || t.neuron_id || ', which is in no model of the run' END AS what
  FROM {OWN_NEURONS} AS n
  FULL JOIN (SELECT neuron_id FROM {table} WHERE run_id = :run_id) AS t ON t.neuron_id = n.id
 WHERE n.id IS NULL OR t.neuron_id IS NULL"""


def _no_orphan(table: str) -> str:
    return f"""
SELECT 'a row of neuron ' || t.neuron_id || ', which is in no model of the run' AS what
  FROM {table} AS t LEFT JOIN {OWN_NEURONS} AS n ON n.id = t.neuron_id
 WHERE t.run_id = :run_id AND n.id IS NULL"""


def _no_orphan_model(table: str) -> str:
    return f"""
SELECT 'a row of model ' || t.model_id || ', which is not in the run' AS what
  FROM {table} AS t LEFT JOIN run_models rm ON rm.run_id = t.run_id AND rm.model_id = t.model_id
 WHERE t.run_id = :run_id AND rm.run_id IS NULL"""


def _known_feature(table: str, whose: str) -> str:
    return f"""
SELECT 'a row{whose} with the unknown feature ' || t.feature_id AS what
  FROM {table} AS t LEFT JOIN features f ON f.id = t.feature_id
 WHERE t.run_id = :run_id AND f.id IS NULL"""


def _of_rows(rows: Rows) -> Iterator[Check]:
    """What follows from whose the rows are."""
    if rows.each == "neuron":
        yield Check(f"{rows.name} has one row per neuron of the run", _every_neuron(rows.name))
    elif rows.each in ("some", "pair"):
        yield Check(f"{rows.name} has rows of neurons of the run only", _no_orphan(rows.name))
    elif rows.each == "model":
        yield Check(f"{rows.name} has rows of models of the run only", _no_orphan_model(rows.name))
    if parts.points_to_features(rows.table):
        whose = " of neuron ' || t.neuron_id || '" if "neuron_id" in rows.table.columns else ""
        yield Check(f"{rows.name} points to features", _known_feature(rows.name, whose))


def structure() -> list[PartCheck]:
    """All checks, each once; that of a table which several parts fill is every run's."""
    checks = [
        PartCheck(None, Check("every model has n_layers x d_mlp neurons", _SHAPE)),
        PartCheck(None, Check("labels has rows of neurons of the run only", _no_orphan("labels"))),
        PartCheck(None, Check("every part was computed of the models of the run", _MODELS_OF_PARTS)),
        PartCheck(None, Check("models are what their behaviour says", _BEHAVIOUR)),
        PartCheck(None, Check("models have the weights that their tensors make", _WEIGHTS)),
    ]
    of_tables: dict[str, PartCheck] = {}
    for part in parts.PARTS:
        for check in (check for rows in part.rows for check in _of_rows(rows)):
            several = check.name in of_tables
            of_tables[check.name] = PartCheck(None if several else part.name, check)
    return [*checks, *of_tables.values(), *(PartCheck(part, check) for part, check in parts.checks())]
