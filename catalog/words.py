"""Words and numbers that columns hold, for the tables that admit them and the questions that name them.

They stand apart from `catalog.schema`, since a question needs the words and not the tables, which load slowly.
"""

UNIVERSAL, TENSORS = NO_FAMILIES = "universal", "tensors"
"""What the thresholds of universality, and of models that share tensors, are under in the table `rules`; these are no families,
for there are no such labels."""

UNIVERSAL_STATES = ("yes", "no", "undecided")
"""Whether a neuron is universal. undecided: the threshold is within the error of its excess correlation, or none is known."""

BOUND = 1.96
"""Standard errors on each side of a number within which it lies 19 times of 20."""

EXAMPLE_KINDS = {
    0: "top", -1: "lowest", 25: "quantile_0_25", 50: "quantile_25_50", 75: "quantile_50_75", 90: "quantile_75_90",
    99: "quantile_90_99", 100: "quantile_99_100",
}  # fmt: skip
"""The number in the table -> the name that readers see."""

QUANTILES = ("0.1", "1", "5", "25", "50", "75", "95", "99", "99.9")
"""Percent."""

VECTOR_KINDS = ("w_in", "w_out", "logit_effect")

METRICS = {
    "scale": "the final layer norm's denominator",
    "entropy": "entropy of the prediction in nats",
    "loss": "-ln p of the next token in nats",
    "rank": "rank of the next token from 0",
    "recip_rank": "1 / (rank + 1)",
    "logit_var": "variance of the logits over the vocabulary",
}
"""What is measured of predictions when neurons are held: the column, and what it is."""

DETECTING = {1: 20, 3: 200}
"""The tokens, or trigrams, that activate a neuron are kept if so few cover it; the rules ask for fewer (SPEC 12.4, 12.5)."""

LEAST_ACTIVATIONS, LEAST_COUNT, LEAST_PROBABILITY = 10, 5, 0.5
"""What is kept of them: neurons that are active so often, n-grams that occur and activate so often; the rules ask for more."""

LEAST_CONTROLS, FALSE_DISCOVERIES = 100, 0.05
"""Of entropy neurons: a candidate has so many controls at least, and candidates / share of false discoveries if that is more,
so that one of them alone can pass."""

IO_CLASSES = (
    "strengthening", "atypical strengthening", "conditional strengthening", "atypical conditional strengthening",
    "proportional change", "atypical proportional change", "orthogonal",
    "weakening", "atypical weakening", "conditional weakening", "atypical conditional weakening",
)  # fmt: skip
"""How what a gated neuron reads is directed to what it writes (docs/formulas.md)."""
