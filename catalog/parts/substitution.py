"""The part `substitution`: what a model loses when a neuron is replaced by its match in another model, and by other stand-ins.

Which neurons match is what the part `correlations` found; of a neuron and its match nothing here depends on more of that part.
"""

from sqlalchemy import ARRAY, BigInteger, Double, Integer, Text

from catalog.parts.part import Check, Part, Rows, Section, View
from catalog.parts.view_text import JACKKNIFE, NEURON
from catalog.schema.base import OVER_BLOCKS, check, column, error_of, number, of_neuron, refers, table
from catalog.words import BOUND

KINDS = ("match", "second", "random")
LEAST_BLOCKS = 10
"""That a standard error needs, as what is measured has it."""

replaced_neurons = table(
    "replaced_neurons",
    *of_neuron(),
    column("n_fitted", BigInteger, "Tokens of the first half of the documents, of which means are (SPEC 0.3, M_corr)."),
    column("n_tokens", BigInteger, "Tokens of the other half, of which the losses are (SPEC 0.3, M_next)."),
    number("mean", "Mean post in the first half, to which ablation sets it."),
    number("loss", "Mean loss of the model left alone, in nats per token."),
    number("loss_delta", "Mean change of the loss when the neuron is held at its mean, in nats per token."),
    number("loss_delta_se", f"Its standard error, {OVER_BLOCKS}."),
    number("token_loss_delta", "The same change when it takes its mean at the current token in the first half."),
    number("token_loss_delta_se", "Standard error of token_loss_delta."),
    number("token_restored", "1 - token_loss_delta / loss_delta; NULL unless loss_delta exceeds 1.96 standard errors."),
    number("token_restored_se", "Standard error of token_restored, jackknifed as a ratio of sums."),
    column("block_tokens", ARRAY(BigInteger), "Tokens of each of the 16 blocks of the scoring half."),
    column("blocks", ARRAY(Double), "Sum over each of these blocks of the change of which loss_delta is the mean, in nats."),
    column("token_blocks", ARRAY(Double), "The same of token_loss_delta, in nats."),
    comment="What the loss does when a neuron is held at its mean, and when it is what it is on average at the current token.",
)

substitutions = table(
    "substitutions",
    *of_neuron(),
    column("other_model_id", Integer, "The model whose neuron stands in.", refers("models.id", cascade=True), key=True),
    column(
        "kind",
        Text,
        "match: its best partner there; second: the second best; random: any other neuron of the match's layer.",
        check("kind_known", f"kind IN {KINDS}"),
        key=True,
    ),
    column("other_neuron_id", Integer, "The neuron that stands in.", refers("neurons.id", cascade=True)),
    number("alpha", "Of the line alpha + beta * post of the other neuron, least squares over the first half of the documents."),
    number("beta", "Slope of that line; 0 where the other neuron never varies."),
    number("loss_delta", "Mean change of the loss when the line takes the neuron's place in the other half, nats per token."),
    number("loss_delta_se", "Standard error of loss_delta, over the documents that score and, fit_se, those that fit."),
    number(
        "restored",
        "1 - loss_delta / that of the neuron held at its mean; NULL unless the latter exceeds 1.96 standard errors.",
    ),
    number("restored_se", "Standard error of restored, over the documents that score and those that fit the line."),
    column("blocks", ARRAY(Double), "Sum over each of the 16 scoring blocks of the change of the loss, in nats."),
    error_of("beta"),
    number("fit_se", "How far a line that is steeper by beta_se changes loss_delta, in nats per token."),
    comment="What the loss does when a neuron of another model takes a neuron's place on the same tokens.",
    serves="neuron_substitutions and neuron_matches: what stands in for a neuron, and how well",
)

# The one place that knows how universality is decided.
_UNIVERSAL = "COALESCE(u.universal, 'no')"

_STAND_INS = """(SELECT s.run_id, s.neuron_id, s.kind, s.other_model_id, s.other_neuron_id, s.alpha, s.beta, s.beta_se,
               s.fit_se, s.loss_delta, s.loss_delta_se, s.restored, s.restored_se, s.blocks
          FROM public.substitutions s
         UNION ALL
        SELECT r.run_id, r.neuron_id, 'token_mean', NULL::int, NULL::int, NULL::double precision, NULL::double precision,
               NULL::double precision, 0::double precision, r.token_loss_delta, r.token_loss_delta_se,
               r.token_restored, r.token_restored_se, r.token_blocks
          FROM public.replaced_neurons r)"""

_STANDARD_ERROR = f"CASE WHEN count(*) >= {LEAST_BLOCKS} THEN {JACKKNIFE} END"
"""SQL: of an estimate without each of so many blocks; NULL where they are too few."""

# Of sums over neurons, block by block, for the same documents are read for all of them; that one line is too steep says nothing
# of the others.
_GROUPS = f"""
SELECT g.universal, g.kind, max(g.replacements) AS replacements, max(g.all_ablated) / max(g.all_tokens) AS ablated,
       {_STANDARD_ERROR.format("(g.all_ablated - g.ablated) / (g.all_tokens - g.tokens)")} AS ablated_se,
       max(g.all_change) / max(g.all_tokens) AS change, 1 - max(g.all_change) / NULLIF(max(g.all_ablated), 0) AS restored,
       sqrt({_STANDARD_ERROR.format("1 - (g.all_change - g.change) / NULLIF(g.all_ablated - g.ablated, 0)")} ^ 2
            + max(g.fit) / NULLIF(max(g.all_ablated) / max(g.all_tokens), 0) ^ 2) AS restored_se
  FROM (SELECT b.*, sum(b.change) OVER own AS all_change, sum(b.ablated) OVER own AS all_ablated,
               sum(b.tokens) OVER own AS all_tokens
          FROM (SELECT {_UNIVERSAL} AS universal, s.kind, block.number, sum(block.change) AS change,
                       sum(block.ablated) AS ablated, max(block.tokens)::double precision AS tokens,
                       count(*) AS replacements,
                       CASE WHEN count(s.fit_se) = count(*) THEN sum(s.fit_se ^ 2) END AS fit
                  FROM public.neurons n
                  JOIN public.replaced_neurons r ON r.run_id = m.run_id AND r.neuron_id = n.id
                  JOIN {_STAND_INS} s ON s.run_id = r.run_id AND s.neuron_id = r.neuron_id
                  LEFT JOIN public.universality u ON u.run_id = r.run_id AND u.neuron_id = r.neuron_id
                 CROSS JOIN LATERAL unnest(s.blocks, r.blocks, r.block_tokens)
                       WITH ORDINALITY AS block(change, ablated, tokens, number)
                 WHERE n.model_id = m.model_id AND block.tokens > 0
                 GROUP BY 1, 2, 3) b
        WINDOW own AS (PARTITION BY b.universal, b.kind)) g
 GROUP BY g.universal, g.kind"""

_SAYS_ENOUGH = f"g.ablated > {BOUND} * g.ablated_se"
_ALONE = {
    "kind": "What stands in: match, second, random, or token_mean, the neuron's mean at the current token.",
    "loss_delta": "Mean change of the loss with the stand-in, in nats per token.",
    "loss_delta_se": "Standard error of loss_delta.",
    "restored": "1 - loss_delta / ablated_loss_delta; NULL unless the latter exceeds 1.96 standard errors.",
    "restored_se": "Standard error of restored.",
    "ablated_loss_delta": "Mean change of the loss when the neuron is held at its mean, in nats per token.",
    "ablated_loss_delta_se": "Standard error of ablated_loss_delta.",
}

VIEWS = (
    View(
        "neuron_substitutions",
        "What a model loses when something stands in for a neuron, against holding it at its mean (ablated).",
        f"""SELECT {NEURON}, s.kind, names.model AS other_model, o.layer AS other_layer, o."index" AS other_neuron,
       s.alpha, s.beta, s.beta_se, r.loss_delta AS ablated_loss_delta, r.loss_delta_se AS ablated_loss_delta_se,
       s.loss_delta, s.loss_delta_se, s.restored, s.restored_se, r.n_tokens, r.neuron_id, s.other_neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.replaced_neurons r ON r.run_id = m.run_id AND r.neuron_id = n.id
  JOIN {_STAND_INS} s ON s.run_id = r.run_id AND s.neuron_id = r.neuron_id
  LEFT JOIN public.neurons o ON o.id = s.other_neuron_id
  LEFT JOIN history.model_names names ON names.model_id = s.other_model_id""",
        words={
            **_ALONE,
            "alpha": "Of the line alpha + beta * post of the other neuron; NULL for token_mean.",
            "beta": "Slope of that line.",
            "beta_se": "Standard error of beta, by the jackknife over blocks of the documents that fit.",
        },
    ),
    View(
        "substitution_summary",
        "What stand-ins restore of what ablation of neurons costs, universal ones and others: ratios of sums over neurons.",
        f"""SELECT m.run_id, m.model, g.universal, g.kind, g.replacements, g.ablated AS ablated_loss_delta,
       g.ablated_se AS ablated_loss_delta_se, g.change AS loss_delta,
       CASE WHEN {_SAYS_ENOUGH} THEN g.restored END AS restored,
       CASE WHEN {_SAYS_ENOUGH} THEN g.restored_se END AS restored_se
  FROM {{members}} m
 CROSS JOIN LATERAL ({_GROUPS}) g""",
        words={
            **{name: words for name, words in _ALONE.items() if name != "loss_delta_se"},
            "universal": "Whether the neurons are universal by the rules: yes, no or undecided.",
            "replacements": "Neurons, each with every other model that has a neuron standing in.",
            "ablated_loss_delta": "Mean changes of the loss when each is held at its mean, summed; nats per token.",
            "loss_delta": "Mean changes of the loss with the stand-ins, summed; nats per token.",
        },
    ),
)

_UNREPLACED = """
SELECT 'neuron ' || s.neuron_id AS what
  FROM substitutions s LEFT JOIN replaced_neurons r USING (run_id, neuron_id)
 WHERE s.run_id = :run_id AND r.run_id IS NULL"""

_RESTORED = f"""
SELECT 'neuron ' || s.neuron_id || ' by ' || s.kind AS what
  FROM {_STAND_INS} s JOIN replaced_neurons r USING (run_id, neuron_id)
 WHERE s.run_id = :run_id
   AND ((s.restored IS NOT NULL) <> COALESCE(r.loss_delta > {BOUND} * r.loss_delta_se, false)
        OR abs(s.restored - (1 - s.loss_delta / r.loss_delta)) > 1e-9)"""

_BLOCKS = f"""
SELECT 'neuron ' || s.neuron_id || ' by ' || s.kind AS what
  FROM {_STAND_INS} s JOIN replaced_neurons r USING (run_id, neuron_id)
 WHERE s.run_id = :run_id
   AND (r.n_tokens <> (SELECT sum(tokens) FROM unnest(r.block_tokens) AS tokens)
        OR cardinality(s.blocks) <> cardinality(r.block_tokens)
        OR abs(r.loss_delta - (SELECT sum(change) FROM unnest(r.blocks) AS change) / r.n_tokens) > 1e-9
        OR abs(s.loss_delta - (SELECT sum(change) FROM unnest(s.blocks) AS change) / r.n_tokens) > 1e-9)"""

_OF_RATIO = _STANDARD_ERROR.format("(s.loss_delta * r.n_tokens - b.change) / NULLIF(r.loss_delta * r.n_tokens - b.ablated, 0)")

_ERRORS = f"""
SELECT 'neuron ' || s.neuron_id || ' by ' || s.kind AS what
  FROM {_STAND_INS} s JOIN replaced_neurons r USING (run_id, neuron_id)
 CROSS JOIN LATERAL (
       SELECT {_STANDARD_ERROR.format("(s.loss_delta * r.n_tokens - b.change) / (r.n_tokens - b.tokens)")} AS change,
              {_OF_RATIO} AS ratio
         FROM unnest(s.blocks, r.blocks, r.block_tokens) AS b(change, ablated, tokens) WHERE b.tokens > 0) jackknife
 WHERE s.run_id = :run_id
   AND ((s.loss_delta_se IS NULL) <> (jackknife.change IS NULL OR s.fit_se IS NULL)
        OR abs(s.loss_delta_se - sqrt(jackknife.change ^ 2 + s.fit_se ^ 2)) > 1e-9
        OR abs(s.restored_se - sqrt(jackknife.ratio ^ 2 + (s.fit_se / r.loss_delta) ^ 2)) > 1e-6 * (1 + s.restored_se))"""

_PARTNERS = """
SELECT 'neuron ' || s.neuron_id || ' and ' || s.other_neuron_id AS what
  FROM substitutions s
  LEFT JOIN pairs p ON p.run_id = s.run_id AND p.neuron_id = s.neuron_id AND p.other_neuron_id = s.other_neuron_id
   AND p.rank <= 2
  LEFT JOIN neurons o ON o.id = s.other_neuron_id
 WHERE s.run_id = :run_id
   AND (o.model_id <> s.other_model_id
        OR p.rank IS DISTINCT FROM CASE s.kind WHEN 'match' THEN 1 WHEN 'second' THEN 2 END)"""

PART = Part(
    name="substitution",
    about="what a match in another model can stand in for",
    reads="corpus",
    version=2,
    settings=("substitution_tokens", "substitution_neurons"),
    rows=(
        Rows(substitutions, "pair", of_all_models=True),
        Rows(replaced_neurons, "some", of_all_models=True),
    ),
    views=VIEWS,
    checks=(
        Check("every substitution is of a neuron that was ablated as well", _UNREPLACED),
        Check("restored is a ratio, where the ablation costs more than 1.96 standard errors", _RESTORED),
        Check("changes of the loss are the sums of their blocks", _BLOCKS),
        Check("standard errors follow from the blocks that score and from the line", _ERRORS),
        Check("match and second are the partners of rank 1 and 2", _PARTNERS),
    ),
    page=(
        Section(
            "substitutions",
            "What stands in for it, against holding it at its mean",
            """
SELECT v.kind, v.other_model, v.other_layer, v.other_neuron, v.ablated_loss_delta, v.loss_delta, v.restored, v.restored_se
  FROM history.neuron_substitutions v
 WHERE v.run_id = :run AND v.neuron_id = :neuron
 ORDER BY array_position(ARRAY['match', 'second', 'random', 'token_mean'], v.kind), v.other_model""",
        ),
    ),
)
