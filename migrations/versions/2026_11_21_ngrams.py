"""n-grams: how few of them cover a neuron's activations; token and trigram detectors; their label rules.

House law: SQL frozen as text, never importing `catalog`; reversible.
"""

from alembic import op

revision = "2026_11_21_ngrams"
down_revision = "2026_11_21_positions"
branch_labels = None
depends_on = None

UPGRADE = r"""
-- The tables are written by publications only, which wait for a migration as they wait for each other.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
CREATE TABLE ngram_statistics (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	n_tokens BIGINT NOT NULL,
	activations_1 BIGINT NOT NULL,
	activations_2 BIGINT NOT NULL,
	activations_3 BIGINT NOT NULL,
	cover_1 INTEGER CONSTRAINT ck_ngram_statistics_cover_1_range CHECK (cover_1 BETWEEN 1 AND activations_1),
	cover_2 INTEGER CONSTRAINT ck_ngram_statistics_cover_2_range CHECK (cover_2 BETWEEN 1 AND activations_2),
	cover_3 INTEGER CONSTRAINT ck_ngram_statistics_cover_3_range CHECK (cover_3 BETWEEN 1 AND activations_3),
	CONSTRAINT pk_ngram_statistics PRIMARY KEY (run_id, neuron_id),
	CONSTRAINT fk_ngram_statistics_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_ngram_statistics_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
CREATE TABLE detected_ngrams (
	run_id INTEGER NOT NULL,
	neuron_id INTEGER NOT NULL,
	n SMALLINT NOT NULL CONSTRAINT ck_detected_ngrams_n_known CHECK (n IN (1, 3) AND n = cardinality(token_ids)),
	rank INTEGER NOT NULL,
	token_ids INTEGER[] NOT NULL,
	count INTEGER NOT NULL,
	activations INTEGER NOT NULL CONSTRAINT ck_detected_ngrams_activations_range CHECK (activations BETWEEN 0 AND count),
	effect REAL NOT NULL,
	effect_raw REAL NOT NULL,
	percentile REAL NOT NULL CONSTRAINT ck_detected_ngrams_percentile_range CHECK (percentile BETWEEN 0 AND 100),
	CONSTRAINT pk_detected_ngrams PRIMARY KEY (run_id, neuron_id, n, rank),
	CONSTRAINT fk_detected_ngrams_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE,
	CONSTRAINT fk_detected_ngrams_neuron_id FOREIGN KEY(neuron_id) REFERENCES neurons (id) ON DELETE CASCADE
);
COMMENT ON TABLE ngram_statistics IS 'How few n-grams cover the activations of each neuron.';
COMMENT ON COLUMN ngram_statistics.run_id IS 'The run that measured it.';
COMMENT ON COLUMN ngram_statistics.neuron_id IS 'The neuron.';
COMMENT ON COLUMN ngram_statistics.n_tokens IS 'Kept tokens that were looked at, the first of the corpus.';
COMMENT ON COLUMN ngram_statistics.activations_1 IS 'Of them, those on which the neuron was active (pre > 0).';
COMMENT ON COLUMN ngram_statistics.activations_2 IS 'Those that end a bigram without BOS.';
COMMENT ON COLUMN ngram_statistics.activations_3 IS 'Those that end a trigram without BOS.';
COMMENT ON COLUMN ngram_statistics.cover_1 IS 'Smallest number of tokens with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.';
COMMENT ON COLUMN ngram_statistics.cover_2 IS 'Smallest number of bigrams with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.';
COMMENT ON COLUMN ngram_statistics.cover_3 IS 'Smallest number of trigrams with 95 % of these activations (VO 4.1, SPEC 12.3); NULL without activations.';
COMMENT ON TABLE detected_ngrams IS 'n-grams that activate a neuron more often than not, of neurons that few n-grams cover; for the rules.';
COMMENT ON COLUMN detected_ngrams.run_id IS 'The run that measured it.';
COMMENT ON COLUMN detected_ngrams.neuron_id IS 'The neuron.';
COMMENT ON COLUMN detected_ngrams.n IS '1 or 3.';
COMMENT ON COLUMN detected_ngrams.rank IS '1 has the most activations.';
COMMENT ON COLUMN detected_ngrams.token_ids IS 'The n-gram, first token first.';
COMMENT ON COLUMN detected_ngrams.count IS 'How often it ends at one of the tokens that were looked at.';
COMMENT ON COLUMN detected_ngrams.activations IS 'How often the neuron is active there.';
COMMENT ON COLUMN detected_ngrams.effect IS 'w_out . W_U[:, v] of its last token v, processed weights (VO 4.4, SPEC 12.7).';
COMMENT ON COLUMN detected_ngrams.effect_raw IS 'The same with the weights of the file.';
COMMENT ON COLUMN detected_ngrams.percentile IS 'Rank of effect among all tokens, 0 to 100 (SPEC 3.7).';
CREATE VIEW history.ngram_coverage AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.cover_1, s.cover_2, s.cover_3,
       CASE WHEN s.activations_1 < 20 AND s.cover_1 IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY['1-5', '6-10', '11-20', '21-50', '51-200', '201-1k', '1k-2k', '2k-50k'])[1 + width_bucket(s.cover_1, ARRAY[6, 11, 21, 51, 201, 1001, 2001])] END AS bucket_1,
       CASE WHEN s.activations_2 < 20 AND s.cover_2 IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY['1-50', '51-100', '101-200', '201-500', '501-1k', '1k-2k', '2k-5k', '5k-1M'])[1 + width_bucket(s.cover_2, ARRAY[51, 101, 201, 501, 1001, 2001, 5001])] END AS bucket_2,
       CASE WHEN s.activations_3 < 20 AND s.cover_3 IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY['1-50', '51-100', '101-200', '201-500', '501-1k', '1k-5k', '5k-20k', '20k-3M'])[1 + width_bucket(s.cover_3, ARRAY[51, 101, 201, 501, 1001, 5001, 20001])] END AS bucket_3,
       s.activations_1 AS activations, s.activations_2, s.activations_3, s.n_tokens, s.neuron_id
  FROM history.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.ngram_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id;
COMMENT ON VIEW history.ngram_coverage IS 'How few tokens, bigrams and trigrams cover 0.95 of each neuron''s activations, and the buckets of VO App. A.1.';
CREATE VIEW history.ngram_coverage_by_half AS
SELECT m.run_id, m.model, t.half, t.n, t.bucket, t.neurons
  FROM history.members m
 CROSS JOIN LATERAL (
       SELECT CASE WHEN 2 * c.layer < mo.n_layers THEN 'bottom' ELSE 'top' END AS half, b.n, b.bucket, count(*) AS neurons
         FROM history.ngram_coverage c
         JOIN public.models mo ON mo.id = m.model_id
        CROSS JOIN LATERAL (VALUES (1, c.bucket_1), (2, c.bucket_2), (3, c.bucket_3)) AS b(n, bucket)
        WHERE c.run_id = m.run_id AND c.model = m.model
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) t;
COMMENT ON VIEW history.ngram_coverage_by_half IS 'Neurons per bucket of coverage in each half of the layers; VO looked at the bottom one.';
CREATE VIEW history.token_detectors AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id
  FROM history.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(g.text ORDER BY g.rank) AS tokens
         FROM (SELECT d.n, d.rank, string_agg(t.text, '' ORDER BY part.place) AS text
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d;
COMMENT ON VIEW history.token_detectors IS 'Neurons that are active on few tokens (n = 1) or trigrams (n = 3) and nearly always there (VO 4.2, App. A.2).';
CREATE VIEW history.covered_tokens_by_layer AS
SELECT m.run_id, m.model, t.layer, t.covered, t.new_overall, t.new_vs_previous, t.cumulative
  FROM history.members m
  JOIN public.run_parts part ON part.run_id = m.run_id AND part.part = 'ngrams'
 CROSS JOIN LATERAL (
       SELECT place.layer::smallint AS layer, count(p.token_id) AS covered,
              count(p.token_id) FILTER (WHERE p.below IS NULL) AS new_overall,
              count(p.token_id) FILTER (WHERE p.below IS DISTINCT FROM place.layer - 1) AS new_vs_previous,
              (sum(count(p.token_id) FILTER (WHERE p.below IS NULL)) OVER (ORDER BY place.layer))::bigint AS cumulative
         FROM public.models mo
        CROSS JOIN LATERAL generate_series(0, mo.n_layers - 1) AS place(layer)
         LEFT JOIN (SELECT f.layer, f.token_id, lag(f.layer) OVER (PARTITION BY f.token_id ORDER BY f.layer) AS below
                      FROM (SELECT DISTINCT l.layer, d.token_ids[1] AS token_id
                              FROM public.labels l
                              JOIN public.detected_ngrams d ON d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                             WHERE l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'token_detector') f
                   ) p ON p.layer = place.layer
        WHERE mo.id = m.model_id
        GROUP BY place.layer ORDER BY place.layer) t;
COMMENT ON VIEW history.covered_tokens_by_layer IS 'Tokens that detectors of each layer detect: all, in no layer below, not in the layer below, so far (VO 4.3).';
CREATE VIEW public.ngram_coverage AS
SELECT m.run_id, m.model, n.layer, n."index" AS neuron, s.cover_1, s.cover_2, s.cover_3,
       CASE WHEN s.activations_1 < 20 AND s.cover_1 IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY['1-5', '6-10', '11-20', '21-50', '51-200', '201-1k', '1k-2k', '2k-50k'])[1 + width_bucket(s.cover_1, ARRAY[6, 11, 21, 51, 201, 1001, 2001])] END AS bucket_1,
       CASE WHEN s.activations_2 < 20 AND s.cover_2 IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY['1-50', '51-100', '101-200', '201-500', '501-1k', '1k-2k', '2k-5k', '5k-1M'])[1 + width_bucket(s.cover_2, ARRAY[51, 101, 201, 501, 1001, 2001, 5001])] END AS bucket_2,
       CASE WHEN s.activations_3 < 20 AND s.cover_3 IS NOT NULL THEN 'too_rare'
            ELSE (ARRAY['1-50', '51-100', '101-200', '201-500', '501-1k', '1k-5k', '5k-20k', '20k-3M'])[1 + width_bucket(s.cover_3, ARRAY[51, 101, 201, 501, 1001, 5001, 20001])] END AS bucket_3,
       s.activations_1 AS activations, s.activations_2, s.activations_3, s.n_tokens, s.neuron_id
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.ngram_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id;
COMMENT ON VIEW public.ngram_coverage IS 'How few tokens, bigrams and trigrams cover 0.95 of each neuron''s activations, and the buckets of VO App. A.1.';
CREATE VIEW public.ngram_coverage_by_half AS
SELECT m.run_id, m.model, t.half, t.n, t.bucket, t.neurons
  FROM public.members m
 CROSS JOIN LATERAL (
       SELECT CASE WHEN 2 * c.layer < mo.n_layers THEN 'bottom' ELSE 'top' END AS half, b.n, b.bucket, count(*) AS neurons
         FROM public.ngram_coverage c
         JOIN public.models mo ON mo.id = m.model_id
        CROSS JOIN LATERAL (VALUES (1, c.bucket_1), (2, c.bucket_2), (3, c.bucket_3)) AS b(n, bucket)
        WHERE c.run_id = m.run_id AND c.model = m.model
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) t;
COMMENT ON VIEW public.ngram_coverage_by_half IS 'Neurons per bucket of coverage in each half of the layers; VO looked at the bottom one.';
CREATE VIEW public.token_detectors AS
SELECT m.run_id, m.model, l.layer, l."index" AS neuron, d.n, d.tokens, l.score AS share,
       (l.evidence ->> 'suppressing')::boolean AS suppressing,
       (l.evidence ->> 'mean_effect')::double precision AS mean_effect,
       (l.evidence ->> 'mean_effect_raw')::double precision AS mean_effect_raw,
       (l.evidence ->> 'share_negative')::double precision AS share_negative,
       (l.evidence ->> 'lowest_percentile')::double precision AS lowest_percentile,
       (l.evidence ->> 'cover')::int AS cover, (l.evidence ->> 'activations')::bigint AS activations, l.neuron_id
  FROM public.members m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.labels l
    ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family IN ('token_detector', 'ngram_detector')
 CROSS JOIN LATERAL (
       SELECT g.n, array_agg(g.text ORDER BY g.rank) AS tokens
         FROM (SELECT d.n, d.rank, string_agg(t.text, '' ORDER BY part.place) AS text
                 FROM public.detected_ngrams d
                CROSS JOIN LATERAL unnest(d.token_ids) WITH ORDINALITY AS part(token_id, place)
                 JOIN public.tokens t ON t.tokenizer_id = mo.tokenizer_id AND t.token_id = part.token_id
                WHERE d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                GROUP BY d.n, d.rank) g
        GROUP BY g.n) d;
COMMENT ON VIEW public.token_detectors IS 'Neurons that are active on few tokens (n = 1) or trigrams (n = 3) and nearly always there (VO 4.2, App. A.2).';
CREATE VIEW public.covered_tokens_by_layer AS
SELECT m.run_id, m.model, t.layer, t.covered, t.new_overall, t.new_vs_previous, t.cumulative
  FROM public.members m
  JOIN public.run_parts part ON part.run_id = m.run_id AND part.part = 'ngrams'
 CROSS JOIN LATERAL (
       SELECT place.layer::smallint AS layer, count(p.token_id) AS covered,
              count(p.token_id) FILTER (WHERE p.below IS NULL) AS new_overall,
              count(p.token_id) FILTER (WHERE p.below IS DISTINCT FROM place.layer - 1) AS new_vs_previous,
              (sum(count(p.token_id) FILTER (WHERE p.below IS NULL)) OVER (ORDER BY place.layer))::bigint AS cumulative
         FROM public.models mo
        CROSS JOIN LATERAL generate_series(0, mo.n_layers - 1) AS place(layer)
         LEFT JOIN (SELECT f.layer, f.token_id, lag(f.layer) OVER (PARTITION BY f.token_id ORDER BY f.layer) AS below
                      FROM (SELECT DISTINCT l.layer, d.token_ids[1] AS token_id
                              FROM public.labels l
                              JOIN public.detected_ngrams d ON d.run_id = l.run_id AND d.neuron_id = l.neuron_id AND d.n = (l.evidence ->> 'n')::int
                  AND d.count >= (l.evidence ->> 'min_count')::double precision
                  AND d.activations::double precision / d.count >= (l.evidence ->> 'min_probability')::double precision
                             WHERE l.run_id = m.run_id AND l.model_id = m.model_id AND l.family = 'token_detector') f
                   ) p ON p.layer = place.layer
        WHERE mo.id = m.model_id
        GROUP BY place.layer ORDER BY place.layer) t;
COMMENT ON VIEW public.covered_tokens_by_layer IS 'Tokens that detectors of each layer detect: all, in no layer below, not in the layer below, so far (VO 4.3).';
GRANT SELECT ON ngram_statistics, detected_ngrams TO catalog_reader;
GRANT SELECT ON history.ngram_coverage, history.ngram_coverage_by_half, history.token_detectors, history.covered_tokens_by_layer, public.ngram_coverage, public.ngram_coverage_by_half, public.token_detectors, public.covered_tokens_by_layer TO catalog_reader;
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
  (VALUES ('token_detector', 'max_cover', 5, 'Most tokens that cover 95 % of its activations (VO 4.2); 20 are known at most.'),
          ('token_detector', 'min_probability', 0.95, 'Share of the occurrences of one of its tokens on which it is active; 0.5 at least is known.'),
          ('token_detector', 'min_count', 10, 'Occurrences that one of its tokens needs; 5 at least are known.'),
          ('token_detector', 'min_share', 0.95, 'Share of its activations that are on them.'),
          ('token_detector', 'min_activations', 20, 'Activations that it needs to be judged; 10 at least are known.'),
          ('ngram_detector', 'max_cover', 50, 'Most trigrams that cover 95 % of its activations (VO App. A.2); 200 are known at most.'),
          ('ngram_detector', 'min_probability', 0.95, 'Share of the occurrences of one of its trigrams on which it is active; 0.5 at least is known.'),
          ('ngram_detector', 'min_count', 10, 'Occurrences that one of its trigrams needs; 5 at least are known.'),
          ('ngram_detector', 'min_share', 0.95, 'Share of its activations that are on them.'),
          ('ngram_detector', 'min_activations', 20, 'Activations that it needs to be judged; 10 at least are known.')
  ) AS new(family, parameter, value, description)
 WHERE NOT EXISTS (SELECT 1 FROM rules r WHERE r.rule_version = v.version AND r.family = new.family)
   AND v.version >= (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL);
"""

DOWNGRADE = r"""
-- squawk-ignore-file require-concurrent-index-deletion
DROP VIEW public.covered_tokens_by_layer;
DROP VIEW history.covered_tokens_by_layer;
DROP VIEW public.token_detectors;
DROP VIEW history.token_detectors;
DROP VIEW public.ngram_coverage_by_half;
DROP VIEW history.ngram_coverage_by_half;
DROP VIEW public.ngram_coverage;
DROP VIEW history.ngram_coverage;
-- Labels of the families that go, and what was known of a run that has them; relabelling with older rules is up to the user.
DELETE FROM run_checksums WHERE table_name IN ('run_parts', 'ngram_statistics', 'detected_ngrams')
   AND run_id IN (SELECT run_id FROM run_parts WHERE part = 'ngrams');
DELETE FROM run_checksums WHERE table_name IN ('labels', 'label_totals')
   AND run_id IN (SELECT run_id FROM labels WHERE family IN ('token_detector', 'ngram_detector'));
DELETE FROM labels WHERE family IN ('token_detector', 'ngram_detector');
DELETE FROM label_totals WHERE family IN ('token_detector', 'ngram_detector');
DELETE FROM run_parts WHERE part = 'ngrams';
DELETE FROM rules WHERE family IN ('token_detector', 'ngram_detector');
DROP TABLE detected_ngrams;
DROP TABLE ngram_statistics;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
