"""Tables of sums over a run's rows, so that counts need not read those rows; see `catalog.publishing.summaries`."""

from typing import Any

from sqlalchemy import Column, Double, Integer, SmallInteger, Text

from catalog.schema.base import column, number, refers, table


def _of_model() -> tuple[Column[Any], Column[Any]]:
    return (
        column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
        column("model_id", Integer, "The model.", refers("models.id", cascade=True), key=True),
    )


label_totals = table(
    "label_totals",
    *_of_model(),
    column("family", Text, "Family of the labels.", key=True),
    column("subtype", Text, "Their subtype; empty where the family was looked for and the layer has none.", key=True),
    column("layer", SmallInteger, "Layer of their neurons.", key=True, autoincrement=False),
    column("labels", Integer, "Labels."),
    column("universal_labels", Integer, "Labels of universal neurons."),
    column("neurons", Integer, "Neurons whose first subtype of the family this is: sums over subtypes count each once."),
    column("universal_neurons", Integer, "Those of them that are universal."),
    column("undecided_labels", Integer, "Labels of neurons of which it is undecided whether they are universal."),
    column("undecided_neurons", Integer, "Those of the neurons of which it is undecided whether they are universal."),
    comment="How many labels a run has, for the counts of find and families; 0 where a family was looked for in vain.",
    serves="families and the count of find: sums of a model in a run",
    hashed="always",
    by_rules=True,
)

layer_summaries = table(
    "layer_summaries",
    *_of_model(),
    column("layer", SmallInteger, "The layer.", key=True, autoincrement=False),
    column("n_neurons", Integer, "Its neurons."),
    column("n_universal", Integer, "Those that are universal."),
    column("n_degenerate", Integer, "Those whose activation hardly varies."),
    number("median_excess_corr", "Median over its neurons, as the medians after it."),
    number("median_sparsity", "Of the activation frequency."),
    number("median_kurt", "Of the kurtosis of pre."),
    number("median_l2_penalty", "Of the L2 penalty of the weights."),
    number("median_vocab_kurt", "Of the kurtosis over the vocabulary."),
    column("n_undecided", Integer, "Those of which it is undecided whether they are universal."),
    comment="Counts and medians per layer, for the question layers.",
    serves="layers: the layers of a model in a run",
    hashed="always",
    by_rules=True,
)

depth_summaries = table(
    "depth_summaries",
    *_of_model(),
    column("layer", SmallInteger, "Layer of the neurons.", key=True, autoincrement=False),
    column("other_layer", SmallInteger, "Layer of their best matches in the other models.", key=True, autoincrement=False),
    column("fraction", Double, "Fraction of the layer's neurons, mean over the other models (SPEC 2.5)."),
    comment="In which layers best matches lie, for the question depth.",
    serves="depth: the layers of a model in a run",
    hashed="always",
)
