"""The part `confidence`: what neurons of the last layer do to how sure a model is (Stolfo et al. 2024)."""

from sqlalchemy import BigInteger, Double, Integer, SmallInteger

from catalog.parts.part import Check, Part, Rows, Section, View
from catalog.parts.token_frequency import RULE, frequency_controls, frequency_tests, tested
from catalog.parts.view_text import LABEL, LABELS, NEURON
from catalog.schema.base import check, column, error_of, number, of_model, of_neuron, table
from catalog.words import BOUND

_SURE = "NULL unless total_effect exceeds 1.96 standard errors."

confidence = table(
    "confidence",
    *of_neuron(),
    number(
        "null_share",
        "|w_out in the last left singular directions of W_U| / |w_out|, directions as confidence_models says; rho.",
        check("null_share_range", "null_share BETWEEN 0 AND 1"),
    ),
    number("frequency_cosine", "Cosine of w_out W_U with the log frequency of tokens about its mean, real tokens."),
    number("mean", "Mean post over the tokens of n_means of confidence_models, to which ablation sets it."),
    column("n_tokens", BigInteger, "Tokens in the means of effects."),
    number("total_effect", "Mean |change of the loss| when the neuron is held at its mean, in nats per token."),
    error_of("total_effect"),
    number("direct_effect", "The same with the final norm's scale frozen, in nats per token."),
    error_of("direct_effect"),
    number("norm_share", f"1 - direct_effect / total_effect: what goes through the final norm's scale. {_SURE}"),
    error_of("norm_share"),
    number("held_effect", "total_effect with logits held along the direction of token frequency, in nats per token."),
    error_of("held_effect"),
    number("frequency_effect", "total_effect - held_effect, in nats per token."),
    error_of("frequency_effect"),
    number("frequency_share", f"1 - held_effect / total_effect: what goes through token frequency. {_SURE}"),
    error_of("frequency_share"),
    number("loss_delta", "Mean change of the loss, with its sign, in nats per token."),
    error_of("loss_delta"),
    number("divergence_delta", "Mean change of KL(token frequency || model), in nats."),
    error_of("divergence_delta"),
    comment="Mean ablation of neurons of the last layer, in closed form on the final residual (Stolfo et al. 2024).",
)

confidence_models = table(
    "confidence_models",
    *of_model(),
    column("null_dimensions", Integer, "Last left singular directions of W_U that null_share is about: 1 % of d_model."),
    column("vocabulary", Integer, "Real tokens: ids beyond them get no probability."),
    column("counted", BigInteger, "Tokens of the corpus whose frequencies are taken: all but BOS, EOS and PAD."),
    column("unseen", Integer, "Real tokens that are not among them."),
    column("pseudo_count", Double, "By how much each real token is counted more often than it is, so that logs are numbers."),
    column("n_means", BigInteger, "Tokens in the means to which neurons are held (SPEC 0.3, M_next)."),
    column("n_tokens", BigInteger, "Those of them, evenly taken, whose losses are measured."),
    column("n_blocks", SmallInteger, "Blocks of documents that they are of."),
    number("loss", "Mean loss of the model left alone on them, over real tokens, in nats per token."),
    number("divergence", "Mean KL(token frequency || model) on them, in nats."),
    comment="What the numbers of `confidence` are about, and the model left alone.",
    serves="model_confidence: a model of a run",
)

_EFFECTS = (
    "total_effect", "direct_effect", "norm_share", "held_effect", "frequency_effect", "frequency_share", "loss_delta",
    "divergence_delta",
)  # fmt: skip
_COLUMNS = ", ".join(f"c.{name}, c.{name}_se" for name in _EFFECTS)
_OF_CONFIDENCE = (
    "frequency_cosine", "total_effect", "frequency_effect", "frequency_share", "divergence_delta", "n_tokens",
)  # fmt: skip
_OF_TEST = {
    "promotes": "frequent: active, it promotes frequent tokens; rare: rare ones.",
    "p": "(1 + controls that promote the same kind of tokens and do as much) / (1 + controls), on the tokens of the test.",
    "adjusted_p": "The least false discovery rate at which it counts, among the candidates of its model (Benjamini, Hochberg).",
    "largest_control": "Largest frequency_effect of controls that promote the same kind of tokens, in nats; NULL: none.",
    "controls": "Other neurons of the layer along which its change was written, as long as its own.",
    "candidates": "Candidates of the model.",
}

VIEWS = (
    View(
        "neuron_confidence",
        "What each neuron of the last layer does to the loss: through the final norm's scale, and through token frequency.",
        f"""SELECT {NEURON}, c.null_share, c.frequency_cosine, c.mean, {_COLUMNS}, c.n_tokens, c.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.confidence c ON c.run_id = m.run_id AND c.neuron_id = n.id""",
    ),
    View(
        "model_confidence",
        "What the numbers of neuron_confidence are about: null space, token frequency, and the model left alone.",
        """SELECT m.run_id, m.model, c.null_dimensions, c.vocabulary, c.counted, c.unseen, c.pseudo_count, c.n_means,
       c.n_tokens, c.n_blocks, c.loss, c.divergence
  FROM {members} m
  JOIN public.confidence_models c ON c.run_id = m.run_id AND c.model_id = m.model_id""",
    ),
    View(
        "token_frequency_candidates",
        "Neurons that were tested for being token-frequency neurons, against other output directions of their layers.",
        f"""SELECT {NEURON}, t.promotes, t.frequency_cosine, t.total_effect, t.frequency_effect, t.frequency_share,
       t.divergence_delta, t.tested_effect, t.tested_tokens, t.p, t.adjusted_p, t.largest_control, t.controls, t.candidates,
       t.n_tokens, t.neuron_id
  FROM {{members}} m
  JOIN ({tested()}) t ON t.run_id = m.run_id AND t.model_id = m.model_id
  JOIN public.neurons n ON n.id = t.neuron_id""",
        words={
            **_OF_TEST,
            **{name: confidence.c[name].info["in_views"] for name in _OF_CONFIDENCE},
            "tested_effect": "frequency_effect on the tokens on which controls are measured, in nats.",
            "tested_tokens": "Tokens on which controls are measured.",
        },
    ),
    View(
        "token_frequency_neurons",
        "Neurons of the last layer that change the loss by moving logits along the log frequency of tokens.",
        f"""SELECT {LABEL}, l.subtype AS promotes, c.frequency_cosine, c.total_effect, c.frequency_effect, c.frequency_share,
       c.frequency_share_se, c.divergence_delta, (l.evidence ->> 'p')::double precision AS p,
       (l.evidence ->> 'adjusted_p')::double precision AS adjusted_p,
       (l.evidence ->> 'largest_control')::double precision AS largest_control, (l.evidence ->> 'controls')::int AS controls,
       (l.evidence ->> 'candidates')::int AS candidates, c.n_tokens, l.neuron_id
  {LABELS} = 'token_frequency'
  JOIN public.confidence c ON c.run_id = l.run_id AND c.neuron_id = l.neuron_id""",
        words=_OF_TEST,
    ),
)

_WHOLE = """
SELECT 'model ' || mo.id AS what
  FROM confidence_models c JOIN models mo ON mo.id = c.model_id
 WHERE c.run_id = :run_id
   AND mo.d_mlp <> (SELECT count(*) FROM confidence r JOIN neurons n ON n.id = r.neuron_id
                     WHERE r.run_id = c.run_id AND n.model_id = mo.id AND n.layer = mo.n_layers - 1)"""

_SHARES = f"""
SELECT 'neuron ' || c.neuron_id || ': ' || s.name AS what
  FROM confidence c
 CROSS JOIN LATERAL (VALUES ('norm_share', c.norm_share, c.direct_effect),
                              ('frequency_share', c.frequency_share, c.held_effect))
       AS s(name, share, without)
 WHERE c.run_id = :run_id
   AND ((s.share IS NOT NULL) <> COALESCE(c.total_effect > {BOUND} * c.total_effect_se, false)
        OR abs(s.share - (1 - s.without / NULLIF(c.total_effect, 0))) > 1e-9
        OR abs(c.frequency_effect - (c.total_effect - c.held_effect)) > 1e-9)"""

_CONTROLLED = """
SELECT 'neuron ' || c.neuron_id || ' along neuron ' || c.along_neuron_id AS what
  FROM frequency_controls c JOIN neurons own ON own.id = c.neuron_id JOIN neurons other ON other.id = c.along_neuron_id
 WHERE c.run_id = :run_id
   AND ((own.model_id, own.layer) <> (other.model_id, other.layer) OR own.id = other.id
        OR NOT EXISTS (SELECT FROM frequency_tests t WHERE t.run_id = c.run_id AND t.neuron_id = c.neuron_id))"""

PART = Part(
    name="confidence",
    about="how sure predictions are without it",
    reads="corpus",
    settings=("intervention_tokens",),
    group="roles",
    rows=(
        Rows(frequency_controls, "some"),
        Rows(frequency_tests, "some"),
        Rows(confidence, "some"),
        Rows(confidence_models, "model"),
    ),
    views=VIEWS,
    rules=(RULE,),
    checks=(
        Check("every neuron of the last layer is ablated, or none of a model", _WHOLE),
        Check("shares are ratios, where the total effect exceeds 1.96 standard errors", _SHARES),
        Check("controls of token frequency are along other neurons of the layer", _CONTROLLED),
    ),
    page=(
        Section(
            "confidence",
            "What the loss does when it is held at its mean",
            """
SELECT c.total_effect, c.total_effect_se, c.direct_effect, c.norm_share, c.norm_share_se, c.held_effect, c.frequency_share,
       c.frequency_share_se, c.loss_delta, c.divergence_delta, c.null_share, c.frequency_cosine, c.n_tokens
  FROM confidence c
 WHERE c.run_id = :run AND c.neuron_id = :neuron""",
        ),
    ),
)
