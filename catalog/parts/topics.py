"""The part `topics`: which topics of words explain a neuron, of a file or of a topic model of the corpus (SPEC 5.10)."""

from sqlalchemy import Integer

from catalog.parts.explained import OF_TOPICS, explained_by
from catalog.parts.part import Part, Rows, View
from catalog.schema.base import column, refers, table

run_topics = table(
    "run_topics",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("ordinal", Integer, "Place among the run's topics, from 1.", key=True, autoincrement=False),
    column("feature_id", Integer, "The topic as a feature of tokens.", refers("features.id")),
    comment="The topics that a run looked for: of a file, or of the topic model of its corpus (SPEC 5.10).",
    serves="topics: the topics of a run in order",
)

VIEWS = (
    View(
        "topics",
        "The topics that explanations were looked for among, with their tokens; machine-named ones come from a topic model.",
        """SELECT m.run_id, m.model, t.ordinal, regexp_replace(f.name, '^topic_(.*)#[0-9a-f]{{8}}$', '\\1') AS topic,
       f.family = 'machine_topic' AS machine_named, members.n_tokens, members.tokens, t.feature_id
  FROM {members} m
  JOIN public.models mo ON mo.id = m.model_id
  JOIN public.run_topics t ON t.run_id = m.run_id
  JOIN public.features f ON f.id = t.feature_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS n_tokens, array_agg(tokens.text ORDER BY tokens.token_id) AS tokens
         FROM public.feature_tokens x
         JOIN public.tokens ON tokens.tokenizer_id = x.tokenizer_id AND tokens.token_id = x.token_id
        WHERE x.tokenizer_id = mo.tokenizer_id AND x.feature_id = t.feature_id) members""",
        words={
            "topic": "The topic's name, without the mark that tells equal names apart.",
            "machine_named": "Whether a topic model of the corpus made and named it; else a file did.",
            "n_tokens": "Tokens of the vocabulary that are of the topic.",
            "tokens": "Their texts, in order of token id; what is no UTF-8 is escaped as \\xNN.",
            "feature_id": "The topic as a feature: id of features.",
        },
    ),
)

PART = Part(
    name="topics",
    about="topics of words that explain it",
    reads="corpus",
    version=2,
    settings=("topics",),
    rows=(Rows(run_topics, "run", of_all_models=True), explained_by(OF_TOPICS)),
    views=VIEWS,
)
