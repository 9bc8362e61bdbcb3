"""The part `activations`: moments and frequency of each neuron's activations (UN 4.2, SPEC 3), and who hardly ever is."""

from sqlalchemy import BigInteger, Boolean

from catalog.parts.part import Part, Rows, View
from catalog.parts.rule import Evidence, Rule, Threshold, measured, threshold
from catalog.parts.view_text import LABEL, LABELS
from catalog.parts.words import percent, shown
from catalog.schema.base import check, column, error_of, number, of_neuron, table

activation_statistics = table(
    "activation_statistics",
    *of_neuron(),
    column("n_tokens", BigInteger, "Kept tokens (SPEC 0.3, M_corr)."),
    number("mean", "Mean pre-activation (SPEC 3.1).", ranked=True),
    number("var", "Population variance of pre.", ranked=True),
    number("skew", "Skewness of pre; NULL if the variance is 0.", ranked=True),
    number("kurt", "Kurtosis of pre, 3 for a Gaussian; NULL if the variance is 0.", ranked=True),
    number("post_mean", "Mean post-activation.", ranked=True),
    number("post_var", "Population variance of post.", ranked=True),
    number("post_skew", "Skewness of post."),
    number("post_kurt", "Kurtosis of post, 3 for a Gaussian."),
    number(
        "sparsity",
        "Activation frequency: fraction of tokens with pre > 0 (SPEC 3.2).",
        check("sparsity_fraction", "sparsity BETWEEN 0 AND 1"),
        ranked=True,
    ),
    column("degenerate", Boolean, "The variance of post is too small for a correlation (SPEC 2.1)."),
    error_of("mean"),
    error_of("var"),
    error_of("skew"),
    error_of("kurt"),
    error_of("post_mean"),
    error_of("post_var"),
    error_of("post_skew"),
    error_of("post_kurt"),
    error_of("sparsity", "NULL also of a neuron that is never or always active."),
    comment="Moments and frequency of each neuron's activations (UN 4.2, SPEC 3).",
)

_ENOUGH = threshold("dead", "enough_tokens")
_NEAR_DEAD = threshold("near_dead", "max_frequency")

# How often a neuron was active follows from its frequency; few tokens cannot show that it never is (rule of three), and neither
# can few documents, within each of which tokens are alike.
_RARE = """
SELECT a.neuron_id, CASE WHEN a.n_tokens < {enough} THEN 'provisional' ELSE '{family}' END, a.sparsity,
       jsonb_build_object('activations', round(a.sparsity * a.n_tokens), 'n_tokens', a.n_tokens,
                          'upper_bound', 3.0 / NULLIF(a.n_tokens, 0), 'n_documents', c.n_documents,
                          'upper_bound_documents', 3.0 / NULLIF(c.n_documents, 0), 'enough_tokens', {enough})
  FROM activation_statistics a
  JOIN runs r ON r.id = a.run_id
  JOIN corpora c ON c.id = r.corpus_id
 WHERE a.run_id = :run_id AND {condition}"""


def _words(evidence: Evidence) -> str:
    tokens, enough = shown(evidence["n_tokens"]), shown(int(evidence["enough_tokens"]))
    said = f"active on {int(evidence['activations']):,} of {tokens} tokens"
    if not evidence["activations"]:
        said = f"active on none of {tokens} tokens, so that its frequency is at most {shown(evidence['upper_bound'])} (3/n)"
        if evidence.get("n_documents"):
            share, documents = percent(min(1.0, evidence["upper_bound_documents"])), shown(evidence["n_documents"])
            said += f", and it is active in at most {share} of documents (3/n of {documents})"
    return f"{said}; provisional below {enough} tokens"


def _rule(family: str, about: str, condition: str, limit: Threshold, table: str) -> Rule:
    select = _RARE.format(family=family, enough=_ENOUGH, condition=condition)
    closest = measured(table, "s.sparsity AS frequency, s.n_tokens AS tokens", "s.sparsity")
    return Rule(family, about, select, _words, (limit,), closest=closest, lowest_is_best=True, of_activations=True)


PART = Part(
    name="activations",
    about="moments and frequency of activations",
    reads="corpus",
    version=2,
    rows=(Rows(activation_statistics, "neuron"),),
    views=(
        View(
            "dead_neurons",
            "Neurons never or hardly ever active, by the rules dead and near_dead, and what 3/n says of dead ones.",
            f"""SELECT {LABEL}, round(a.sparsity * a.n_tokens)::bigint AS activations,
       a.n_tokens, 3.0 / NULLIF(a.n_tokens, 0) AS upper_bound,
       c.n_documents, 3.0 / NULLIF(c.n_documents, 0) AS upper_bound_documents, a.neuron_id
  {LABELS} IN ('dead', 'near_dead')
  JOIN public.activation_statistics a ON a.run_id = l.run_id AND a.neuron_id = l.neuron_id
  JOIN public.runs r ON r.id = l.run_id
  JOIN public.corpora c ON c.id = r.corpus_id""",
            words={
                "activations": "Kept tokens with pre > 0.",
                "upper_bound": "3 / n_tokens: the frequency of a dead neuron is below it with a confidence of 95 %.",
                "upper_bound_documents": "3 / n_documents: the share of documents that a dead neuron is active in, likewise.",
            },
        ),
    ),
    rules=(
        _rule(
            "dead",
            ("Neurons that no token of the corpus activates (VO 3); provisional as long as the tokens are too few to be sure."),
            "a.sparsity = 0",
            Threshold("enough_tokens", 20_000_000, "Tokens below which a label of dead or near_dead is provisional (VO 3)."),
            "public.activation_statistics",
        ),
        _rule(
            "near_dead",
            "Neurons that hardly any token activates, but at least one (SPEC 12.1).",
            f"a.sparsity > 0 AND a.sparsity < {_NEAR_DEAD}",
            Threshold("max_frequency", 0.000001, "Frequency below which a neuron that was active is nearly dead."),
            "(SELECT * FROM public.activation_statistics WHERE sparsity > 0)",
        ),
    ),
)
