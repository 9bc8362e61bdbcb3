"""The part `examples`: places in the corpus that show what a neuron responds to (SPEC 3.4).

The text of an example is in `corpus_rows`, whole rows of token ids: a run's examples share them, for the hashes that draw
samples are the same for every neuron, and so do its models and other runs on the corpus. At four bytes a token they are
bounded by the corpus; windows of 26 tokens of each example would take 130 bytes for every distinct place.
"""

from sqlalchemy import ARRAY, REAL, Integer, SmallInteger, Text

from catalog.parts.part import Check, Part, Publication, Rows, Section, View
from catalog.schema.base import check, column, index, of_neuron, refers, table
from catalog.words import EXAMPLE_KINDS

examples = table(
    "examples",
    *of_neuron(),
    column(
        "kind",
        SmallInteger,
        "0: the highest values; else a band of quantiles of the neuron's positive post, by its upper percent.",
        check("kind_known", f"kind IN {tuple(EXAMPLE_KINDS)}"),
        key=True,
        autoincrement=False,
    ),
    column("rank", SmallInteger, "1 is the highest value of the kind.", check("rank_positive", "rank >= 1"), key=True),
    column("value", REAL, "Post at the token, as it is: not above 0 where a neuron has nothing better."),
    column("row", Integer, "Row of the corpus, in the order of the run.", check("row_not_negative", '"row" >= 0')),
    column(
        "position",
        Integer,
        "In the row, from 0; BOS, which is no example, is at 0 where rows begin with it.",
        check("position_not_negative", '"position" >= 0'),
    ),
    column(
        "quantile",
        REAL,
        "Share of the neuron's positive post below the middle of the value's bin (two per power of two); NULL for top.",
        check("quantile_of_sample", "(quantile IS NULL) = (kind = 0) AND quantile BETWEEN 0 AND 1"),
        null=True,
    ),
    column("token_id", Integer, "The token there, from corpus_rows."),
    comment="The 50 tokens on which a neuron is most active, of distinct contexts (SPEC 3.4), and a sample of every strength. "
    "By run.",
    serves="show and neuron_examples: a neuron's examples, kind by kind in order",
    by_run=True,
)
index(
    "ix_examples_by_token",
    "neuron_examples: the neurons that have an example at one token",
    examples.c.run_id,
    examples.c.token_id,
    examples.c.neuron_id,
)

corpus_rows = table(
    "corpus_rows",
    column("corpus_id", Integer, "The corpus.", refers("corpora.id", cascade=True), key=True),
    column("row", Integer, "Place of the row, from 0.", key=True, autoincrement=False),
    column("subset", Text, "The subset that it is of; NULL where the corpus has none.", null=True),
    column("tokens", ARRAY(Integer), "Token ids, BOS first where rows begin with it."),
    comment="Rows of a corpus that hold an example of a neuron.",
    serves="neuron_examples: the row of the corpus that an example is in",
    used="""t.corpus_id = (SELECT corpus_id FROM runs WHERE id = :run_id)
            AND t.row IN (SELECT e.row FROM examples e WHERE e.run_id = :run_id)""",
)

_KIND = "CASE e.kind " + " ".join(f"WHEN {number} THEN '{name}'" for number, name in EXAMPLE_KINDS.items()) + " END"


def _bytes_of(first: str, last: str) -> str:
    """The bytes of tokens of a row; places are counted from 1. A token without bytes of its own has those of its name."""
    return f"""(SELECT COALESCE(string_agg(COALESCE(t.bytes, convert_to(t.text, 'UTF8')), '' ORDER BY piece.place), '')
          FROM unnest(r.tokens[{first} : {last}]) WITH ORDINALITY AS piece(token_id, place)
          JOIN public.tokens t ON t.tokenizer_id = c.tokenizer_id AND t.token_id = piece.token_id)"""


_BEFORE = _bytes_of("greatest(1, e.position - 19)", "e.position")
_AFTER = _bytes_of("e.position + 2", "e.position + 6")

_EXAMPLE_ROWS = """
SELECT 'an example of neuron ' || e.neuron_id || ' at row ' || e.row || ', position ' || e.position AS what
  FROM examples e
  JOIN runs r ON r.id = e.run_id
  JOIN corpora o ON o.id = r.corpus_id
  LEFT JOIN corpus_rows c ON c.corpus_id = r.corpus_id AND c.row = e.row
 WHERE e.run_id = :run_id
   AND (c.tokens[e.position + 1] IS DISTINCT FROM e.token_id OR e.position < o.begins_with_bos::int)"""

_EXAMPLE_RANKS = """
SELECT 'neuron ' || neuron_id || ' with rank ' || rank AS what
  FROM (SELECT neuron_id, rank, value, row_number() OVER best AS place, lag(value) OVER best AS before
          FROM examples WHERE run_id = :run_id AND kind = 0
        WINDOW best AS (PARTITION BY neuron_id ORDER BY rank)) AS placed
 WHERE rank <> place OR value > before"""


def _store_rows(publication: Publication) -> None:
    from catalog.parts.corpus_rows import store_rows

    store_rows(publication.connection, publication.driver, publication.run_id, publication.corpus_id, publication.corpus)


_KINDS = ", ".join(f"'{kind}'" for kind in EXAMPLE_KINDS.values())

PART = Part(
    name="examples",
    about="where it is most active, and a sample of every strength",
    reads="corpus",
    rows=(Rows(examples, "some"),),
    views=(
        View(
            "neuron_examples",
            "Tokens on which each neuron is most active, and a sample of every strength, with 20 tokens before and 5 after.",
            f"""SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       {_KIND} AS kind, e.rank, e.value, r.subset, e.row, e.position,
       token.text AS token,
       public.readable({_BEFORE}) AS before,
       public.readable({_AFTER}) AS after,
       e.quantile, e.neuron_id, token.bytes AS token_bytes,
       {_BEFORE} AS before_bytes,
       {_AFTER} AS after_bytes
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.examples e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.runs ON runs.id = m.run_id
  JOIN public.corpora c ON c.id = runs.corpus_id
  JOIN public.tokens token ON token.tokenizer_id = c.tokenizer_id AND token.token_id = e.token_id
  JOIN public.corpus_rows r ON r.corpus_id = c.id AND r.row = e.row""",
            words={
                "kind": "top: the highest values; else a band of quantiles of the neuron's positive post, in percent.",
                "subset": "The subset of the corpus that the row is of; NULL where the corpus has none.",
                "token": "Text of the token; what is no UTF-8 by itself is escaped as \\xNN, a backslash doubled.",
                "before": "Text of the up to 20 tokens before it in the row; what is no UTF-8 is escaped, as in token.",
                "after": "Text of the up to 5 tokens after it in the row; what is no UTF-8 is escaped, as in token.",
                "token_bytes": "The token's bytes, unescaped.",
                "before_bytes": "Bytes of the tokens before it, unescaped.",
                "after_bytes": "Bytes of the tokens after it, unescaped.",
            },
        ),
    ),
    checks=(
        Check("examples are at their token in rows of the corpus that are stored", _EXAMPLE_ROWS),
        Check("top examples are ranked 1, 2, 3, … by falling value", _EXAMPLE_RANKS),
    ),
    page=(
        Section(
            "examples",
            "Examples: the highest values, then samples of its positive values by quantile",
            f"""
SELECT v.kind, v.rank, v.value, v.quantile, v.subset, v.row, v.position, v.before, v.token, v.after
  FROM history.neuron_examples v WHERE v.run_id = :run AND v.neuron_id = :neuron
 ORDER BY array_position(ARRAY[{_KINDS}], v.kind), v.rank""",
        ),
    ),
    uses=(corpus_rows,),
    after_rows=_store_rows,
)
