"""Families per layer: a view, and rows of 0 for the families that were looked for and not found.

`catalog relabel` writes these rows for the runs that are published already.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_family_layers"
down_revision = "2026_11_21_next_tokens"
branch_labels = None
depends_on = None

UPGRADE = r"""
CREATE VIEW history.family_counts_by_layer AS
SELECT m.run_id, m.model, t.layer, t.family, t.neurons, t.universal_neurons
  FROM history.members m
 CROSS JOIN LATERAL (SELECT t.layer, t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY t.layer, t.family ORDER BY t.layer, t.family) t;
COMMENT ON VIEW history.family_counts_by_layer IS 'Distinct neurons per layer and family, universal or not; 0 where a family was looked for and not found.';
CREATE VIEW public.family_counts_by_layer AS
SELECT m.run_id, m.model, t.layer, t.family, t.neurons, t.universal_neurons
  FROM public.members m
 CROSS JOIN LATERAL (SELECT t.layer, t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY t.layer, t.family ORDER BY t.layer, t.family) t;
COMMENT ON VIEW public.family_counts_by_layer IS 'Distinct neurons per layer and family, universal or not; 0 where a family was looked for and not found.';
GRANT SELECT ON history.family_counts_by_layer, public.family_counts_by_layer TO catalog_reader;
COMMENT ON TABLE label_totals IS 'How many labels a run has, for the counts of find and families; 0 where a family was looked for in vain.';
COMMENT ON COLUMN label_totals.subtype IS 'Their subtype; empty where the family was looked for and the layer has none.';
"""

DOWNGRADE = r"""
-- What was known of the rows that go; relabelling with older rules is up to the user.
DELETE FROM run_checksums WHERE table_name = 'label_totals' AND run_id IN (SELECT run_id FROM label_totals WHERE labels = 0);
DELETE FROM label_totals WHERE labels = 0;
DROP VIEW public.family_counts_by_layer;
DROP VIEW history.family_counts_by_layer;
COMMENT ON TABLE label_totals IS 'How many labels a run has, for the counts of find and families.';
COMMENT ON COLUMN label_totals.subtype IS 'Their subtype.';
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
