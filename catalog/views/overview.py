"""The views: one per reader's question, each written once and created twice.

In schema `history` a view shows every published run; in `public` it shows, for each model, the newest published run
that contains it. `{members}` stands for the runs and models that the view may see, and is all that differs. They are in no
migration: `catalog.views.unfrozen` makes them from what stands here.
"""

from catalog import parts
from catalog.parts.explained import PARTIAL
from catalog.parts.part import View
from catalog.parts.words import OF_FAMILY
from catalog.views import chance, of_models
from catalog.views.view_columns import words_of

_SCORE = (
    "In the unit of its family: variance reduction, held out; nats for position, entropy and token_frequency, ratio for bos,"
    " frequency for dead and near_dead, share of activations for detectors, vocab_kurt for prediction, suppression and"
    " partition, |h| for attention, |cosine| for antipodal, duplicate and io_class. The highest is the best; of anti_entropy,"
    " dead, near_dead and unexplained the lowest."
)
_MEMBERS = {**OF_FAMILY, "model_id": "The model: id of models."}
_COUNTS = {
    "family": "Family of labels.",
    "neurons": "Distinct neurons with a label of the family; 0: looked for, none found.",
    "universal_neurons": "Those of them that are universal.",
    "undecided_neurons": "Those of them of which it is undecided whether they are universal.",
    **chance.WORDS,
}

HELPERS = (
    View(
        "history.model_names",
        "The unique name of each model: name, or name@revision where a name has several revisions. Controls have none.",
        """SELECT m.id AS model_id,
       CASE WHEN m.revision <> '' AND EXISTS (SELECT 1 FROM public.models o WHERE o.name = m.name AND o.id <> m.id)
            THEN m.name || '@' || m.revision ELSE m.name END AS model,
       m.model_family AS family
  FROM public.models m
 WHERE m.control_of IS NULL""",
        _MEMBERS,
    ),
    View(
        "history.members",
        "Every model of every published run, but for controls.",
        """SELECT rm.run_id, rm.model_id, names.model, names.family
  FROM public.run_models rm
  JOIN public.runs r ON r.id = rm.run_id AND r.published_at IS NOT NULL
  JOIN history.model_names names ON names.model_id = rm.model_id""",
        _MEMBERS,
    ),
    View(
        "public.members",
        "Each model, but for controls, with the newest published run that contains it.",
        """SELECT DISTINCT ON (rm.model_id) rm.run_id, rm.model_id, names.model, names.family
  FROM public.run_models rm
  JOIN public.runs r ON r.id = rm.run_id AND r.published_at IS NOT NULL
  JOIN history.model_names names ON names.model_id = rm.model_id
 ORDER BY rm.model_id, r.published_at DESC, rm.run_id DESC""",
        _MEMBERS,
    ),
)
"""The relations that the views are built on, under their qualified names, in order of creation."""

_PROFILE = """SELECT m.run_id, m.model, m.family, n.layer, n."index" AS neuron,
       a.mean, a.mean_se, a.var, a.var_se, a.skew, a.skew_se, a.kurt, a.kurt_se, a.sparsity, a.sparsity_se,
       w.w_in_norm, w.w_out_norm, w.input_bias, w.in_out_sim, w.l2_penalty,
       w.vocab_mean, w.vocab_var, w.vocab_skew, w.vocab_kurt,
       u.max_corr, u.mean_corr, u.mean_corr_se, u.min_corr, u.max_baseline, u.mean_baseline, u.min_baseline,
       u.excess_corr, u.excess_se, u.n_models, u.n_degenerate,
       COALESCE(u.universal, 'no') AS universal,
       a.n_tokens, a.degenerate, a.post_mean, a.post_mean_se, a.post_var, a.post_var_se,
       a.post_skew, a.post_skew_se, a.post_kurt, a.post_kurt_se,
       w.logit_var, w.logit_skew, w.logit_kurt, w.vocab_n,
       w.w_gate_norm, w.gate_bias, w.gate_out_sim, w.gate_in_sim,
       n.id AS neuron_id
  FROM {members} m"""

_STATISTICS = """
  LEFT JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
  LEFT JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id"""

# A grouped or ordered LATERAL is answered model by model from the primary key, however many runs there are.
OVERVIEW = (
    View(
        "neuron_profiles",
        "One wide row per neuron: statistics of activations and weights, and universality.",
        f"""{_PROFILE}
  JOIN public.neurons n ON n.model_id = m.model_id{_STATISTICS}
  LEFT JOIN public.universality u ON u.run_id = m.run_id AND u.neuron_id = n.id""",
        words={
            **OF_FAMILY,
            "universal": "yes, no or undecided: whether excess_corr is above universal.min_excess of the rules, given"
            " excess_se; no also where it is undefined or was not measured.",
        },
    ),
    View(
        "universal_neurons",
        "The rows of neuron_profiles that are universal: excess_corr surely above universal.min_excess of the rules (UN 4.1).",
        f"""{_PROFILE}
  JOIN public.universality u ON u.run_id = m.run_id AND u.model_id = m.model_id AND u.universal = 'yes'
  JOIN public.neurons n ON n.id = u.neuron_id{_STATISTICS}""",
        words={
            **OF_FAMILY,
            "universal": "excess_corr - 1.96 excess_se is above universal.min_excess of the rules: yes in every row.",
        },
    ),
    View(
        "neuron_labels",
        "What each neuron is, with the score and the version of the rules.",
        """SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family, l.subtype, l.score, l.rule_version,
       l.evidence, l.neuron_id
  FROM {members} m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id""",
        words={
            "score": _SCORE,
        },
    ),
    View(
        "neuron_explanations",
        "The token features that explain each neuron best.",
        f"""SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, e.shift, e.variance_reduction,
       e.n_in, e.n_out, e.mean_in, e.mean_out, e.cohen_d, e.rank, f.family AS feature_family, e.chosen_variance_reduction,
       e.held_out_variance_reduction, e.variance_reduction_se, e.held_out_variance_reduction_se, e.mean_in_se, e.mean_out_se,
       e.frequency_in, e.frequency_out, e.frequency_in_se, e.frequency_out_se, e.rectified_in, e.rectified_out,
       e.rectified_in_se, e.rectified_out_se, {PARTIAL}, e.neuron_id
  FROM {{members}} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.explanations e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.features f ON f.id = e.feature_id""",
        words={
            "partial_effect": "What the feature adds to post given the current token, in standard deviations within tokens;"
            " NULL for features of tokens alone and of the previous token, and where overlap is below context.min_overlap of"
            " the rules.",
            "partial_variance_reduction": "Share of the variance within tokens that it explains; NULL where partial_effect is.",
        },
    ),
    View(
        "family_counts",
        "Distinct neurons per family, universal, undecided or not, and how many chance gives.",
        chance.counts(""),
        words=_COUNTS,
    ),
    View(
        "family_counts_by_layer",
        "Distinct neurons per layer and family, universal, undecided or not, and how many chance gives.",
        chance.counts("t.layer"),
        words={**_COUNTS, "layer": "Transformer block, from 0."},
    ),
    View(
        "layer_profiles",
        "Per layer: neurons, share of universal ones, undecided ones, and medians of the main statistics.",
        """SELECT m.run_id, m.model, s.layer, s.n_neurons, s.n_universal, s.n_undecided,
       s.n_universal::double precision / s.n_neurons AS share_universal, s.n_degenerate,
       s.median_excess_corr, s.median_sparsity, s.median_kurt, s.median_l2_penalty, s.median_vocab_kurt
  FROM {members} m
 CROSS JOIN LATERAL (SELECT * FROM public.layer_summaries s WHERE s.run_id = m.run_id AND s.model_id = m.model_id
                      ORDER BY s.layer) s""",
        words={
            "layer": "Transformer block, from 0.",
            "share_universal": "n_universal / n_neurons, 0 to 1.",
            "median_excess_corr": "Median over the layer's neurons of excess_corr.",
            "median_sparsity": "Median of the activation frequency.",
            "median_kurt": "Median of the kurtosis of pre.",
            "median_l2_penalty": "Median of w_in_norm^2 + w_out_norm^2.",
            "median_vocab_kurt": "Median of the kurtosis over the vocabulary.",
        },
    ),
    *of_models.VIEWS,
)


def views() -> list[View]:
    """All of them, in order of creation: those over several parts, then those of each part."""
    return [*OVERVIEW, *parts.views()]


def statements() -> list[str]:
    """CREATE VIEW and COMMENT ON for all views and their columns, in order.

    Raises:
        KeyError: a column has no words, or words have no column.
    """
    made: list[str] = []
    for helper in HELPERS:
        made += _create(helper.name, helper.comment, helper.select, words_of(helper.name, helper.select, helper.words))
    for schema in ("history", "public"):
        for view in views():
            select = view.select.format(members=f"{schema}.members", schema=schema)
            made += _create(f"{schema}.{view.name}", view.comment, select, words_of(view.name, select, view.words))
    return made


def _create(name: str, comment: str, select: str, words: dict[str, str]) -> list[str]:
    told = [f"COMMENT ON VIEW {name} IS {_quoted(comment)}"]
    told += [f'COMMENT ON COLUMN {name}."{column}" IS {_quoted(said)}' for column, said in words.items()]
    return [f"CREATE VIEW {name} AS\n{select}", *told]


def _quoted(comment: str) -> str:
    return "'" + comment.replace("'", "''") + "'"
