"""Tables of places in the corpus that show what a neuron responds to.

The text of an example is in `corpus_rows`, whole rows of token ids: a run's examples share them, for the hashes that draw
samples are the same for every neuron, and so do its models and other runs on the corpus. At four bytes a token they are
bounded by the corpus; windows of 26 tokens of each example would take 130 bytes for every distinct place.
"""

from sqlalchemy import ARRAY, REAL, Integer, SmallInteger, Table, Text

from catalog.base import check, column, index, metadata, refers
from catalog.schema.statistics import of_neuron
from catalog.words import EXAMPLE_KINDS

examples = Table(
    "examples",
    metadata,
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
    column("position", Integer, "In the row; 0 is BOS, which is no example.", check("position_positive", '"position" >= 1')),
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
    postgresql_partition_by="LIST (run_id)",
)
index(
    "ix_examples_by_token",
    "neuron_examples: the neurons that have an example at one token",
    examples.c.run_id,
    examples.c.token_id,
    examples.c.neuron_id,
)

corpus_rows = Table(
    "corpus_rows",
    metadata,
    column("corpus_id", Integer, "The corpus.", refers("corpora.id", cascade=True), key=True),
    column("row", Integer, "Place of the row, from 0.", key=True, autoincrement=False),
    column("subset", Text, "The subset that it is of; NULL where the corpus has none.", null=True),
    column("tokens", ARRAY(Integer), "Token ids, BOS first."),
    comment="Rows of a corpus that hold an example of a neuron.",
)
