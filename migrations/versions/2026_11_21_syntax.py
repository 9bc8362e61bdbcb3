"""Syntax: features of spaCy's tokens among the explanations, and the rule of their labels.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_syntax"
down_revision = "2026_11_21_examples"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore-file constraint-missing-not-valid
ALTER TABLE features DROP CONSTRAINT ck_features_family_known;
ALTER TABLE features ADD CONSTRAINT ck_features_family_known CHECK (family IN ('type', 'symbol', 'numeric', 'pronoun', 'starts', 'suffix', 'prefix', 'word_group', 'unigram', 'spacy_pos', 'spacy_dep', 'spacy_morph', 'spacy_ent', 'spacy_misc'));
COMMENT ON COLUMN features.name IS 'Name as in SPEC 5, e.g. contains_comma; unigrams end in _unigram, syntax begins with spacy_.';
COMMENT ON TABLE explanations IS 'The features that explain each neuron best: of tokens and of syntax, the top five and the best of each shift.';
COMMENT ON COLUMN explanations.rank IS 'Rank of the score among all features and both shifts, 1 the best; exact up to 5.';
-- New rules raise the version; a draft stays the newest.
INSERT INTO rule_versions (version, created_at, published_at)
SELECT max(version) + 1, now(), CASE WHEN bool_and(published_at IS NOT NULL) THEN now() END FROM rule_versions;
INSERT INTO rules (rule_version, family, parameter, value, description)
SELECT rule_version + 1, family, parameter, value, description FROM rules
 WHERE rule_version = (SELECT max(rule_version) FROM rules);
UPDATE rules r SET value = p.value
  FROM rules p, (SELECT max(version) AS newest FROM rule_versions) v
 WHERE r.rule_version = v.newest - 1 AND p.rule_version = v.newest - 2 AND p.family = r.family AND p.parameter = r.parameter
   AND EXISTS (SELECT 1 FROM rule_versions d WHERE d.version = v.newest AND d.published_at IS NULL);
UPDATE rule_versions SET published_at = now() WHERE published_at IS NULL AND version < (SELECT max(version) FROM rule_versions);
INSERT INTO rules (rule_version, family, parameter, value, description)
SELECT v.version, new.* FROM rule_versions v,
  (VALUES ('syntax', 'min_variance_reduction', 0.2, 'Least variance reduction of the best feature, a syntactic property of the token (SPEC 6.6).')
  ) AS new(family, parameter, value, description)
 WHERE NOT EXISTS (SELECT 1 FROM rules r WHERE r.rule_version = v.version AND r.family = new.family)
   AND v.version >= (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL);
"""

DOWNGRADE = r"""
-- squawk-ignore-file constraint-missing-not-valid
-- What was known of a run that has syntax, and its labels; relabelling with older rules is up to the user.
DELETE FROM run_checksums WHERE table_name IN ('run_parts', 'explanations', 'features', 'labels', 'label_totals')
   AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'syntax');
DELETE FROM labels WHERE family = 'syntax' OR starts_with(evidence ->> 'feature', 'spacy_');
DELETE FROM label_totals t WHERE family = 'syntax'
    OR (family = 'previous_token' AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'syntax'));
DELETE FROM explanations WHERE feature_id IN (SELECT id FROM features WHERE starts_with(family, 'spacy_'));
UPDATE explanations e SET rank = ranked.rank
  FROM (SELECT x.run_id, x.neuron_id, x.feature_id, x.shift,
               row_number() OVER (PARTITION BY x.run_id, x.neuron_id ORDER BY x.variance_reduction DESC, x.shift, f.ordinal) AS rank
          FROM explanations x JOIN features f ON f.id = x.feature_id
         WHERE x.run_id IN (SELECT run_id FROM run_parts WHERE part = 'syntax')) ranked
 WHERE (e.run_id, e.neuron_id, e.feature_id, e.shift) = (ranked.run_id, ranked.neuron_id, ranked.feature_id, ranked.shift);
DELETE FROM features WHERE starts_with(family, 'spacy_');
DELETE FROM run_parts WHERE part = 'syntax';
DELETE FROM rules WHERE family = 'syntax';
COMMENT ON COLUMN explanations.rank IS 'Rank of the score among all features and both shifts, 1 the best.';
COMMENT ON TABLE explanations IS 'The features that explain each neuron best: the top five, the best of each shift.';
COMMENT ON COLUMN features.name IS 'Name as in SPEC 5, e.g. contains_comma; unigrams end in _unigram.';
ALTER TABLE features DROP CONSTRAINT ck_features_family_known;
ALTER TABLE features ADD CONSTRAINT ck_features_family_known CHECK (family IN ('type', 'symbol', 'numeric', 'pronoun', 'starts', 'suffix', 'prefix', 'word_group', 'unigram'));
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
