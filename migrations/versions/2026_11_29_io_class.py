"""Gated neurons and reading-and-writing classes: norms and cosines of gates, mismatched neurons, and a function for their null.

Labels of the family come with the next relabel, or the next publication; thresholds with the upgrade itself.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_29_io_class"
down_revision = "2026_11_29_lineage"
branch_labels = None
depends_on = None

UPGRADE = r"""
ALTER TABLE weight_statistics
    ADD COLUMN w_gate_norm DOUBLE PRECISION,
    ADD COLUMN gate_bias DOUBLE PRECISION,
    ADD COLUMN gate_out_sim DOUBLE PRECISION,
    ADD COLUMN gate_in_sim DOUBLE PRECISION,
    ADD COLUMN mismatched_index INTEGER,
    ADD COLUMN mismatched_in_out_sim DOUBLE PRECISION,
    ADD COLUMN mismatched_gate_out_sim DOUBLE PRECISION;
COMMENT ON COLUMN weight_statistics.in_out_sim IS 'Cosine of input and output weights, both processed: the gain of the norm folded into what reads, what writes centred where the norm centres.';
COMMENT ON COLUMN weight_statistics.w_gate_norm IS 'L2 norm of the gate''s weights, processed; NULL of neurons without a gate.';
COMMENT ON COLUMN weight_statistics.gate_bias IS 'b_gate after folding the norm; NULL of neurons without a gate.';
COMMENT ON COLUMN weight_statistics.gate_out_sim IS 'Cosine of gate and output weights, both processed: the gain of the norm folded into what reads, what writes centred where the norm centres; NULL of neurons without a gate.';
COMMENT ON COLUMN weight_statistics.gate_in_sim IS 'Cosine of gate and input weights, the gain of the norm folded into both; the sign rule makes it 0 or more; NULL of neurons without a gate.';
COMMENT ON COLUMN weight_statistics.mismatched_index IS 'Position in d_mlp of another neuron of the layer, drawn with a fixed seed, each once; NULL in a layer of one neuron.';
COMMENT ON COLUMN weight_statistics.mismatched_in_out_sim IS 'Cosine of the input weights and the output weights of the neuron at mismatched_index.';
COMMENT ON COLUMN weight_statistics.mismatched_gate_out_sim IS 'Cosine of the gate''s weights and those output weights; NULL of neurons without a gate.';

CREATE FUNCTION public.cosine_above(bound double precision, dimensions integer) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN bound >= 1 THEN 0::double precision
  WHEN bound > 0 AND dimensions > 0 THEN (
    SELECT CASE WHEN tail.logarithm < -700 THEN 0 ELSE exp(tail.logarithm) END
      FROM (SELECT ln(bound / 2) + (dimensions - 1) / 2.0::double precision * ln(1 - bound * bound)
                   + CASE WHEN dimensions % 2 = 0 THEN ln(2 / pi()) ELSE 0 END
                   + (SELECT coalesce(sum(ln(k::double precision / (k + 1))), 0)
                        FROM generate_series(2 - dimensions % 2, dimensions - 2, 2) AS k)
                   + ln(1 + (SELECT sum(exp(term.logarithm))
                               FROM (SELECT sum(ln((1 - bound * bound) * (dimensions + 2 * k) / (dimensions + 1 + 2 * k)))
                                              OVER (ORDER BY k) AS logarithm
                                       FROM generate_series(0, ceil(-40 / ln(1 - bound * bound))::int) AS k) AS term))
                   AS logarithm) AS tail)
END;
COMMENT ON FUNCTION public.cosine_above(double precision, integer) IS 'How probable the cosine of two random directions in so many dimensions is to be above a number between 0 and 1: (cosine + 1) / 2 ~ Beta((d - 1) / 2, (d - 1) / 2). NULL for other numbers below 1; 0 from 1 on.';
GRANT EXECUTE ON FUNCTION public.cosine_above(double precision, integer) TO catalog_reader;
"""

DOWNGRADE = r"""
DELETE FROM run_checksums WHERE table_name IN ('labels', 'label_totals')
    AND run_id IN (SELECT run_id FROM label_totals WHERE family = 'io_class');
DELETE FROM run_checksums WHERE table_name = 'weight_statistics'
    AND run_id IN (SELECT run_id FROM weight_statistics WHERE mismatched_index IS NOT NULL);
DELETE FROM labels WHERE family = 'io_class';
DELETE FROM label_totals WHERE family = 'io_class';
DELETE FROM rules WHERE family = 'io_class';
DROP FUNCTION public.cosine_above(double precision, integer);
ALTER TABLE weight_statistics
    DROP COLUMN mismatched_gate_out_sim,
    DROP COLUMN mismatched_in_out_sim,
    DROP COLUMN mismatched_index,
    DROP COLUMN gate_in_sim,
    DROP COLUMN gate_out_sim,
    DROP COLUMN gate_bias,
    DROP COLUMN w_gate_norm;
COMMENT ON COLUMN weight_statistics.in_out_sim IS 'Cosine of input and output weights.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
