"""Rows of what neurons do, written into the small published family: one neuron of every role."""

from sqlalchemy import Engine

from tests.database.helpers import execute
from tests.published_rows import D_MLP, MODELS

PREDICTION, SUPPRESSION, PARTITION = 12, 13, 14
ANTIPODES, DUPLICATES = (1, 2), (4, D_MLP + 4)
OFF, ON = 15, 9
"""Neurons of layer 0 that turn head 1.0 towards BOS, and away."""
ENTROPY, ANTI_ENTROPY = D_MLP + 8, D_MLP + 9
FREQUENCY = D_MLP + 12
PARTS = ("prediction", "redundancy", "attention", "ablations", "class_activity", "entropy", "confidence")

_OWN = """SELECT n.id, n.model_id, n.layer, n."index", n.layer * :d_mlp + n."index" AS flat
            FROM neurons n JOIN models m ON m.id = n.model_id"""
_OF_A = f"{_OWN} WHERE m.name = '{MODELS[0]}'"
_ID = f"(SELECT id FROM ({_OF_A}) a WHERE flat = {{}})"

_PARTNERS = f"""
SELECT :run, n.id, kinds.kind, ends.opposite, 1, o.id,
       CASE WHEN (n.flat, o.flat) IN {(ANTIPODES, ANTIPODES[::-1])} AND ends.opposite AND kinds.kind = 'w_out' THEN -0.8
            WHEN (n.flat, o.flat) IN {(DUPLICATES, DUPLICATES[::-1])} AND NOT ends.opposite THEN 0.9
            WHEN ends.opposite THEN -0.2 ELSE 0.2 END, true
  FROM ({_OF_A}) n
 CROSS JOIN (VALUES ('w_in'), ('w_out')) AS kinds(kind)
 CROSS JOIN (VALUES (false), (true)) AS ends(opposite)
  JOIN ({_OF_A}) o ON o.flat = CASE WHEN ends.opposite AND n.flat = {ANTIPODES[0]} THEN {ANTIPODES[1]}
                                    WHEN ends.opposite AND n.flat = {ANTIPODES[1]} THEN {ANTIPODES[0]}
                                    WHEN NOT ends.opposite AND n.flat = {DUPLICATES[0]} THEN {DUPLICATES[1]}
                                    WHEN NOT ends.opposite AND n.flat = {DUPLICATES[1]} THEN {DUPLICATES[0]}
                                    ELSE (n.flat + 1) % 32 END"""

_HELD = f"""
SELECT :run, n.id, '{{}}', 'fix', v.value, 100, 6000, 'candidate',
       CASE WHEN n.flat = {ANTI_ENTROPY} THEN {_ID.format(ENTROPY)} END,
       1 + e.effect, e.effect, 0.001, 2 + e.effect, e.effect, 0.001, 3, 0.01, 0.001, 9, 0.5, 0.01, 0.5, -0.01, 0.001,
       4, -0.1, 0.01, 0.02, 0.001
  FROM ({_OF_A}) n CROSS JOIN (VALUES (0), (6)) AS v(value)
 CROSS JOIN LATERAL (
       SELECT v.value * CASE n.flat WHEN {ENTROPY} THEN 0.1 ELSE -0.1 END AS effect) e
 WHERE n.flat IN ({ENTROPY}, {ANTI_ENTROPY})"""

# Layers of sixteen neurons are too small for a p below 0.05: neurons of all layers and models stand in for those of one.
_CONTROLS = f"""
SELECT :run, n.id, 6, o.id, 0.001 * (o.id % 20 - 10), 0.001 * (o.id % 20), 6000
  FROM ({_OF_A}) n JOIN neurons o ON o.id NOT IN ({_ID.format(ENTROPY)}, {_ID.format(ANTI_ENTROPY)})
 WHERE n.flat IN ({ENTROPY}, {ANTI_ENTROPY})
 UNION ALL
SELECT run_id, neuron_id, value, neuron_id, entropy_delta, scale_delta, n_tokens FROM interventions WHERE value = 6"""

_CONFIDENCE = f"""
SELECT :run, n.id, 0.1, CASE WHEN n.flat = {FREQUENCY} THEN 0.9 WHEN n.flat % 2 = 0 THEN 0.1 ELSE -0.1 END, 0.5, 900,
       0.05, 0.001, 0.04, 0.001, 0.2, 0.01, e.held, 0.001, 0.05 - e.held, 0.002, 1 - e.held / 0.05, 0.02, 0.01, 0.002,
       -0.02, 0.003
  FROM ({_OWN}) n CROSS JOIN LATERAL (SELECT CASE n.flat WHEN {FREQUENCY} THEN 0.01 ELSE 0.05 END AS held) e
 WHERE n.layer = 1"""

# As those of entropy, of all models.
_FREQUENCY_CONTROLS = f"""
SELECT :run, n.id, o.id, 0.0001 * (o.id % 7)
  FROM ({_OWN}) n JOIN neurons o ON o.layer = 1 AND o.id <> n.id
 WHERE n.flat = {FREQUENCY}"""

STATEMENTS = (
    f"UPDATE weight_statistics SET vocab_kurt = 20, vocab_skew = 3 WHERE neuron_id = {_ID.format(PREDICTION)}",
    f"UPDATE weight_statistics SET vocab_kurt = 20, vocab_skew = -3 WHERE neuron_id = {_ID.format(SUPPRESSION)}",
    f"UPDATE weight_statistics SET vocab_var = 1 WHERE neuron_id = {_ID.format(PARTITION)}",
    "CREATE TABLE logit_explanations_run_1 PARTITION OF logit_explanations FOR VALUES IN (1)",
    f"""INSERT INTO logit_explanations
        SELECT :run, n.id, f.id, 1, 1, 11, e.sign * 0.5, 0, e.sign * 0.5, e.sign * 9, 0.4, 0.1, 0.2
          FROM ({_OWN}) n JOIN features f ON f.name = 'contains_comma'
         CROSS JOIN LATERAL (SELECT CASE WHEN n.flat = {SUPPRESSION} THEN -1 ELSE 1 END AS sign) e""",
    f"""INSERT INTO class_activity SELECT :run, n.id, f.id, 400, 11500, 0.5, 0, 0.8, 0.3, 0.9
          FROM ({_OF_A}) n JOIN features f ON f.name = 'contains_comma' WHERE n.flat IN ({PREDICTION}, {SUPPRESSION})""",
    "CREATE TABLE similar_neurons_run_1 PARTITION OF similar_neurons FOR VALUES IN (1)",
    f"INSERT INTO similar_neurons {_PARTNERS}",
    "CREATE TABLE neuron_vectors_run_1 PARTITION OF neuron_vectors FOR VALUES IN (1)",
    f"""INSERT INTO neuron_vectors SELECT :run, n.id, kinds.kind, n.model_id,
               l2_normalize(ARRAY[1 + n.flat, 33 - n.flat, n.model_id]::real[]::halfvec)
          FROM ({_OWN}) n CROSS JOIN (VALUES ('w_in'), ('w_out'), ('logit_effect')) AS kinds(kind)""",
    f"""INSERT INTO head_scores SELECT :run, n.id, 1, 0, h.h, NULL, h.h / 2, 1 + n.flat, true, true
          FROM ({_OF_A}) n
         CROSS JOIN LATERAL (SELECT CASE n.flat WHEN {OFF} THEN 5.0 WHEN {ON} THEN -5.0 ELSE 0.1 END AS h) h
         WHERE n.layer = 0""",
    "INSERT INTO head_baselines SELECT :run, m.id, 1, head, 0.5, 0.1 FROM models m CROSS JOIN generate_series(0, 1) AS head",
    """INSERT INTO head_norms SELECT :run, m.id, layer, head, 6000, 10 + head, 9 FROM models m
        CROSS JOIN generate_series(0, 1) AS layer CROSS JOIN generate_series(0, 1) AS head""",
    f"""INSERT INTO head_compositions SELECT :run, n.id, own.later, own.later, own.later, own.before
          FROM ({_OF_A}) n CROSS JOIN LATERAL (SELECT
            CASE n.layer WHEN 0 THEN ARRAY[0.1, 0.2]::real[] ELSE '{{}}' END AS later,
            CASE n.layer WHEN 0 THEN ARRAY[0.1, 0.2]::real[] ELSE ARRAY[0.1, 0.2, 0.3, 0.4]::real[] END AS before) own""",
    f"""INSERT INTO path_ablations SELECT :run, n.id, 1, 0, 100, 'chosen', 3000, 1, 0.5, 0.4,
               CASE n.flat WHEN {OFF} THEN -0.1 ELSE 0.1 END, 2, 0.1, 0.05, 3, 0.2, 0.06
          FROM ({_OF_A}) n WHERE n.flat IN ({OFF}, {ON})""",
    f"""INSERT INTO ablation_relations SELECT :run, n.id, 1, 0, 100, 'activation', 'delta_p_bos', r.r, r.r, 0.1, 0
          FROM ({_OF_A}) n CROSS JOIN LATERAL (SELECT CASE n.flat WHEN {OFF} THEN -0.9 ELSE 0.9 END AS r) r
         WHERE n.flat IN ({OFF}, {ON})""",
    f"INSERT INTO interventions {_HELD}",
    f"INSERT INTO entropy_controls {_CONTROLS}",
    "INSERT INTO confidence_models SELECT :run, m.id, 1, 60, 12000, 3, 1, 900, 900, 32, 2.5, 1.5 FROM models m",
    f"INSERT INTO confidence {_CONFIDENCE}",
    f"""INSERT INTO frequency_tests SELECT :run, n.id, 500, CASE WHEN n.id = {_ID.format(FREQUENCY)} THEN 0.04 ELSE 0 END
          FROM ({_OWN}) n WHERE n.flat = {FREQUENCY}""",
    f"INSERT INTO frequency_controls {_FREQUENCY_CONTROLS}",
)


def write_roles(engine: Engine, run: int) -> None:
    """Write the rows; labels come with the next relabel."""
    for part in PARTS:
        execute(engine, "INSERT INTO run_parts (run_id, part, definition_version) VALUES (:run, :part, 1)", run=run, part=part)
    for statement in STATEMENTS:
        values = {"run": run, "d_mlp": D_MLP}
        execute(engine, statement, **{name: value for name, value in values.items() if f":{name}" in statement})
