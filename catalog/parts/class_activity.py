"""The part `class_activity`: whether neurons are active before the tokens that they act on (UN Fig. 25, SPEC 3.5)."""

from sqlalchemy import BigInteger, Integer

from catalog.parts.part import Part, Rows, View
from catalog.parts.view_text import LABEL, LABELS
from catalog.schema.base import check, column, number, of_neuron, refers, table

class_activity = table(
    "class_activity",
    *of_neuron(),
    column("feature_id", Integer, "The class of tokens that the neuron acts on most.", refers("features.id")),
    column("n_in", BigInteger, "Kept tokens before a token of the class."),
    column("n_out", BigInteger, "Kept tokens before another token; the last one of a row is before none."),
    number("mean_in", "Mean pre before tokens of the class."),
    number("mean_out", "Mean pre before others.", in_views="Mean pre before other tokens."),
    number("freq_in", "Fraction with pre > 0 before tokens of the class.", check("freq_in_range", "freq_in BETWEEN 0 AND 1")),
    number(
        "freq_out",
        "Fraction with pre > 0 before others.",
        check("freq_out_range", "freq_out BETWEEN 0 AND 1"),
        in_views="Fraction with pre > 0 before other tokens.",
    ),
    number("cohen_d", "Difference of the means over the pooled standard deviation."),
    comment="Whether neurons of peaked effects on the logits are active before the tokens they act on (UN Fig. 25, SPEC 3.5).",
)

PART = Part(
    name="class_activity",
    about="whether it is active before the tokens that it acts on",
    reads="corpus",
    settings=("intervention_tokens",),
    group="roles",
    rows=(Rows(class_activity, "some"),),
    views=(
        View(
            "prediction_activity",
            "Whether prediction and suppression neurons are active before the tokens that they act on (UN Fig. 25).",
            f"""SELECT {LABEL}, l.family AS class, f.name AS feature, a.n_in, a.n_out, a.freq_in, a.freq_out,
       a.mean_in, a.mean_out, a.cohen_d, l.neuron_id
  {LABELS} IN ('prediction', 'suppression')
  JOIN public.class_activity a ON a.run_id = l.run_id AND a.neuron_id = l.neuron_id
  JOIN public.features f ON f.id = a.feature_id""",
            words={
                "class": "prediction or suppression.",
                "feature": "The class of tokens that the neuron acts on most.",
            },
        ),
    ),
)
