"""Topics, and subsets of the corpus, among the explanations; what the rule of context asks for.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_topics"
down_revision = "2026_11_21_syntax"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- squawk-ignore-file constraint-missing-not-valid, adding-foreign-key-constraint
ALTER TABLE features DROP CONSTRAINT ck_features_family_known;
ALTER TABLE features ADD CONSTRAINT ck_features_family_known CHECK (family IN ('type', 'symbol', 'numeric', 'pronoun', 'starts', 'suffix', 'prefix', 'word_group', 'unigram', 'spacy_pos', 'spacy_dep', 'spacy_morph', 'spacy_ent', 'spacy_misc', 'topic', 'machine_topic', 'subset'));
COMMENT ON COLUMN features.name IS 'As in SPEC 5; unigrams end in _unigram, others begin with spacy_, topic_ or subset_.';
COMMENT ON TABLE explanations IS 'The features that explain each neuron best, of each part of the run five and the best of each shift.';
CREATE TABLE run_topics (
	run_id INTEGER NOT NULL,
	ordinal INTEGER NOT NULL,
	feature_id INTEGER NOT NULL,
	CONSTRAINT pk_run_topics PRIMARY KEY (run_id, ordinal),
	CONSTRAINT fk_run_topics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_run_topics_feature_id FOREIGN KEY(feature_id) REFERENCES features (id)
);
COMMENT ON TABLE run_topics IS 'The topics that a run looked for: of a file, or of the topic model of its corpus (SPEC 5.10).';
COMMENT ON COLUMN run_topics.run_id IS 'The run.';
COMMENT ON COLUMN run_topics.ordinal IS 'Place among the run''s topics, from 1.';
COMMENT ON COLUMN run_topics.feature_id IS 'The topic as a feature of tokens.';
CREATE VIEW history.topics AS
SELECT m.run_id, m.model, t.ordinal, regexp_replace(f.name, '^topic_(.*)#[0-9a-f]{8}$', '\1') AS topic,
       f.family = 'machine_topic' AS machine_named, members.n_tokens, members.tokens, t.feature_id
  FROM history.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.run_topics t ON t.run_id = m.run_id
  JOIN public.features f ON f.id = t.feature_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n_tokens, array_agg(tokens.text ORDER BY tokens.token_id) AS tokens
         FROM public.feature_tokens x
         JOIN public.tokens ON tokens.tokenizer_id = x.tokenizer_id AND tokens.token_id = x.token_id
        WHERE x.tokenizer_id = mo.tokenizer_id AND x.feature_id = t.feature_id) members;
COMMENT ON VIEW history.topics IS 'The topics that explanations were looked for among, with their tokens; machine-named ones come from a topic model.';
CREATE VIEW public.topics AS
SELECT m.run_id, m.model, t.ordinal, regexp_replace(f.name, '^topic_(.*)#[0-9a-f]{8}$', '\1') AS topic,
       f.family = 'machine_topic' AS machine_named, members.n_tokens, members.tokens, t.feature_id
  FROM public.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.run_topics t ON t.run_id = m.run_id
  JOIN public.features f ON f.id = t.feature_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n_tokens, array_agg(tokens.text ORDER BY tokens.token_id) AS tokens
         FROM public.feature_tokens x
         JOIN public.tokens ON tokens.tokenizer_id = x.tokenizer_id AND tokens.token_id = x.token_id
        WHERE x.tokenizer_id = mo.tokenizer_id AND x.feature_id = t.feature_id) members;
COMMENT ON VIEW public.topics IS 'The topics that explanations were looked for among, with their tokens; machine-named ones come from a topic model.';
GRANT SELECT ON run_topics TO catalog_reader;
GRANT SELECT ON history.topics, public.topics TO catalog_reader;
-- The rule of context asks for the best of all features now: its version rises, and a draft stays the newest.
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
UPDATE rules SET description = 'Least variance reduction of the best feature, a subset of the corpus or a topic (SPEC 6.6).'
 WHERE family = 'context' AND parameter = 'min_variance_reduction'
   AND rule_version >= (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL);
"""

DOWNGRADE = r"""
-- squawk-ignore-file constraint-missing-not-valid
DROP VIEW public.topics;
DROP VIEW history.topics;
-- What was known of a run that has such explanations, and its labels; relabelling with older rules is up to the user.
CREATE TEMPORARY TABLE going ON COMMIT DROP AS
SELECT DISTINCT e.run_id FROM explanations e JOIN features f ON f.id = e.feature_id
 WHERE f.family IN ('topic', 'machine_topic', 'subset')
UNION SELECT run_id FROM run_parts WHERE part = 'topics';
DELETE FROM run_checksums
 WHERE table_name IN ('run_parts', 'explanations', 'features', 'feature_tokens', 'labels', 'label_totals', 'run_topics')
   AND run_id IN (SELECT run_id FROM going);
DELETE FROM labels WHERE family IN ('context', 'previous_token') AND run_id IN (SELECT run_id FROM going);
DELETE FROM label_totals WHERE family IN ('context', 'previous_token') AND run_id IN (SELECT run_id FROM going);
DELETE FROM explanations WHERE feature_id IN (SELECT id FROM features WHERE family IN ('topic', 'machine_topic', 'subset'));
UPDATE explanations e SET rank = ranked.rank
  FROM (SELECT x.run_id, x.neuron_id, x.feature_id, x.shift,
               row_number() OVER (PARTITION BY x.run_id, x.neuron_id ORDER BY x.variance_reduction DESC, x.shift, f.ordinal) AS rank
          FROM explanations x JOIN features f ON f.id = x.feature_id
         WHERE x.run_id IN (SELECT run_id FROM going)) ranked
 WHERE (e.run_id, e.neuron_id, e.feature_id, e.shift) = (ranked.run_id, ranked.neuron_id, ranked.feature_id, ranked.shift);
DROP TABLE run_topics;
DELETE FROM features WHERE family IN ('topic', 'machine_topic', 'subset');
DELETE FROM run_parts WHERE part = 'topics';
COMMENT ON TABLE explanations IS 'The features that explain each neuron best: of tokens and of syntax, the top five and the best of each shift.';
COMMENT ON COLUMN features.name IS 'Name as in SPEC 5, e.g. contains_comma; unigrams end in _unigram, syntax begins with spacy_.';
ALTER TABLE features DROP CONSTRAINT ck_features_family_known;
ALTER TABLE features ADD CONSTRAINT ck_features_family_known CHECK (family IN ('type', 'symbol', 'numeric', 'pronoun', 'starts', 'suffix', 'prefix', 'word_group', 'unigram', 'spacy_pos', 'spacy_dep', 'spacy_morph', 'spacy_ent', 'spacy_misc'));
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
