"""The part `next_tokens`: how a neuron's activation differs before the tokens of a class (SPEC 3.5)."""

from sqlalchemy import BigInteger, Double, Integer, SmallInteger

from catalog.parts.part import Part, Rows, Section, View
from catalog.schema.base import check, column, of_neuron, refers, table

next_token_statistics = table(
    "next_token_statistics",
    *of_neuron(),
    column("feature_id", Integer, "The class: tokens with this feature.", refers("features.id"), key=True),
    column("rank", SmallInteger, "By the size of cohen_d, 1 the largest.", check("rank_positive", "rank >= 1")),
    column("n_in", BigInteger, "Kept tokens before a token of the class."),
    column("n_out", BigInteger, "Kept tokens before another token; the last one of a row is before none."),
    column("mean_in", Double, "Mean pre before tokens of the class."),
    column("mean_out", Double, "Mean pre before others."),
    column("freq_in", Double, "Fraction with pre > 0 before tokens of the class."),
    column("freq_out", Double, "Fraction with pre > 0 before others."),
    column("cohen_d", Double, "Difference of the means over the pooled standard deviation."),
    comment="The five classes of next tokens before which a neuron's pre-activation differs most (SPEC 3.5). By run.",
    serves="show and neuron_next_tokens: the classes of next tokens of a neuron",
    by_run=True,
)

VIEWS = (
    View(
        "neuron_next_tokens",
        "Classes of next tokens before which each neuron differs most: mean pre and frequency before them and before others.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, s.rank, s.n_in, s.n_out,
       s.mean_in, s.mean_out, s.freq_in, s.freq_out, s.cohen_d, f.family AS feature_family, s.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.next_token_statistics s ON s.run_id = m.run_id AND s.neuron_id = n.id
  JOIN public.features f ON f.id = s.feature_id""",
    ),
)

PART = Part(
    name="next_tokens",
    about="how it differs before classes of next tokens",
    reads="corpus",
    rows=(Rows(next_token_statistics, "some"),),
    views=VIEWS,
    page=(
        Section(
            "next_tokens",
            "Before which next tokens it differs: frequency and mean of pre before them, and before others",
            """
SELECT s.rank, f.name AS feature, s.n_in, s.n_out, s.freq_in, s.freq_out, s.mean_in, s.mean_out, s.cohen_d
  FROM next_token_statistics s JOIN features f ON f.id = s.feature_id
 WHERE s.run_id = :run AND s.neuron_id = :neuron ORDER BY s.rank""",
        ),
    ),
)
