"""The views: one per reader's question, each written once and created twice.

In schema `history` a view shows every published run; in `public` it shows, for each model, the newest published run
that contains it. `{members}` stands for the runs and models that the view may see, and is all that differs. They are in no
migration: `catalog.unfrozen` makes them from what stands here.
"""

from catalog.activity_views import ACTIVITY_VIEWS, View
from catalog.role_views import ROLE_VIEWS
from catalog.view_columns import words_of

HELPERS = (
    (
        "history.model_names",
        "The unique name of each model: name, or name@revision where a name has several revisions.",
        """SELECT m.id AS model_id,
       CASE WHEN m.revision <> '' AND EXISTS (SELECT 1 FROM public.models o WHERE o.name = m.name AND o.id <> m.id)
            THEN m.name || '@' || m.revision ELSE m.name END AS model,
       m.model_family AS family
  FROM public.models m""",
    ),
    (
        "history.members",
        "Every model of every published run.",
        """SELECT rm.run_id, rm.model_id, names.model, names.family
  FROM public.run_models rm
  JOIN public.runs r ON r.id = rm.run_id AND r.status = 'published'
  JOIN history.model_names names ON names.model_id = rm.model_id""",
    ),
    (
        "public.members",
        "Each model with the newest published run that contains it.",
        """SELECT DISTINCT ON (rm.model_id) rm.run_id, rm.model_id, names.model, names.family
  FROM public.run_models rm
  JOIN public.runs r ON r.id = rm.run_id AND r.status = 'published'
  JOIN history.model_names names ON names.model_id = rm.model_id
 ORDER BY rm.model_id, r.published_at DESC, rm.run_id DESC""",
    ),
)
"""Qualified name, comment and text of the relations that the views are built on, in order of creation."""

_PROFILE = """SELECT m.run_id, m.model, m.family, n.layer, n."index" AS neuron,
       a.mean, a.var, a.skew, a.kurt, a.sparsity,
       w.w_in_norm, w.w_out_norm, w.input_bias, w.in_out_sim, w.l2_penalty,
       w.vocab_mean, w.vocab_var, w.vocab_skew, w.vocab_kurt,
       u.max_corr, u.mean_corr, u.min_corr, u.max_baseline, u.mean_baseline, u.min_baseline,
       u.excess_corr, u.n_models, u.n_degenerate,
       COALESCE(u.excess_corr > 0.5, false) AS universal,
       a.n_tokens, a.degenerate, a.post_mean, a.post_var, a.post_skew, a.post_kurt,
       w.logit_var, w.logit_skew, w.logit_kurt, w.vocab_n,
       n.id AS neuron_id
  FROM {members} m"""

_STATISTICS = """
  LEFT JOIN public.activation_statistics a ON a.run_id = m.run_id AND a.neuron_id = n.id
  LEFT JOIN public.weight_statistics w ON w.run_id = m.run_id AND w.neuron_id = n.id"""

# A grouped or ordered LATERAL is answered model by model from the primary key, however many runs there are.
VIEWS = (
    View(
        "neuron_profiles",
        "One wide row per neuron: statistics of activations and weights, and universality.",
        f"""{_PROFILE}
  JOIN public.neurons n ON n.model_id = m.model_id{_STATISTICS}
  LEFT JOIN public.universality u ON u.run_id = m.run_id AND u.neuron_id = n.id""",
    ),
    View(
        "universal_neurons",
        "The rows of neuron_profiles with excess_corr above 0.5 (UN 4.1).",
        f"""{_PROFILE}
  JOIN public.universality u ON u.run_id = m.run_id AND u.model_id = m.model_id AND u.excess_corr > 0.5
  JOIN public.neurons n ON n.id = u.neuron_id{_STATISTICS}""",
    ),
    View(
        "neuron_matches",
        "The best partners of each neuron in every other model, with the standard error (1 - r^2) / sqrt(n).",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron,
       names.model AS other_model, o.layer AS other_layer, o."index" AS other_neuron,
       p.correlation, p.rank, p.mutual_best,
       (1 - p.correlation::double precision ^ 2) / NULLIF(sqrt(c.n_kept::double precision), 0) AS standard_error,
       p.neuron_id, p.other_neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.pairs p ON p.run_id = m.run_id AND p.neuron_id = n.id
  JOIN public.neurons o ON o.id = p.other_neuron_id
  JOIN history.model_names names ON names.model_id = p.other_model_id
  JOIN public.runs r ON r.id = m.run_id
  LEFT JOIN public.corpora c ON c.id = r.corpus_id""",
    ),
    View(
        "neuron_universality_by_model",
        "Best match and rotated baseline of each neuron in each other model.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, names.model AS other_model,
       u.max_corr, o.layer AS other_layer, o."index" AS other_neuron,
       u.baseline, u.baseline_sd, u.baseline_layer, u.diag_corr, u.mutual_best, u.neuron_id, u.other_neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.universality_by_model u ON u.run_id = m.run_id AND u.neuron_id = n.id
  JOIN history.model_names names ON names.model_id = u.other_model_id
  LEFT JOIN public.neurons o ON o.id = u.other_neuron_id""",
    ),
    View(
        "neuron_labels",
        "What each neuron is, with the score and the version of the rules.",
        """SELECT m.run_id, m.model, l.layer, l."index" AS neuron, l.family, l.subtype, l.score, l.rule_version,
       l.evidence, l.neuron_id
  FROM {members} m
  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id""",
    ),
    View(
        "neuron_explanations",
        "The token features that explain each neuron best.",
        """SELECT m.run_id, m.model, n.layer, n."index" AS neuron, f.name AS feature, e.shift, e.variance_reduction,
       e.n_in, e.n_out, e.mean_in, e.mean_out, e.cohen_d, e.rank, f.family AS feature_family, e.neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.explanations e ON e.run_id = m.run_id AND e.neuron_id = n.id
  JOIN public.features f ON f.id = e.feature_id""",
    ),
    *ACTIVITY_VIEWS,
    *ROLE_VIEWS,
    View(
        "family_counts",
        "Distinct neurons per family of labels, and how many of them are universal.",
        """SELECT m.run_id, m.model, t.family, t.neurons, t.universal_neurons
  FROM {members} m
 CROSS JOIN LATERAL (SELECT t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY t.family) t""",
    ),
    View(
        "family_counts_by_layer",
        "Distinct neurons per layer and family, universal or not; 0 where a family was looked for and not found.",
        """SELECT m.run_id, m.model, t.layer, t.family, t.neurons, t.universal_neurons
  FROM {members} m
 CROSS JOIN LATERAL (SELECT t.layer, t.family, sum(t.neurons) AS neurons, sum(t.universal_neurons) AS universal_neurons
                       FROM public.label_totals t WHERE t.run_id = m.run_id AND t.model_id = m.model_id
                      GROUP BY t.layer, t.family ORDER BY t.layer, t.family) t""",
    ),
    View(
        "depth_matrix",
        "Fraction of a layer's neurons whose best match lies in each layer, mean over other models (SPEC 2.5).",
        """SELECT m.run_id, m.model, d.layer, d.other_layer, d.fraction
  FROM {members} m
 CROSS JOIN LATERAL (SELECT * FROM public.depth_summaries d WHERE d.run_id = m.run_id AND d.model_id = m.model_id
                      ORDER BY d.layer, d.other_layer) d""",
    ),
    View(
        "layer_profiles",
        "Per layer: neurons, share of universal ones, and medians of the main statistics.",
        """SELECT m.run_id, m.model, s.layer, s.n_neurons, s.n_universal,
       s.n_universal::double precision / s.n_neurons AS share_universal, s.n_degenerate,
       s.median_excess_corr, s.median_sparsity, s.median_kurt, s.median_l2_penalty, s.median_vocab_kurt
  FROM {members} m
 CROSS JOIN LATERAL (SELECT * FROM public.layer_summaries s WHERE s.run_id = m.run_id AND s.model_id = m.model_id
                      ORDER BY s.layer) s""",
    ),
    View(
        "neuron_group_members",
        "Cliques of mutual best matches, one row per neuron; with the group's size and lowest correlation.",
        """SELECT m.run_id, g.id AS group_id, g.size, g.lowest_corr, m.model, n.layer, n."index" AS neuron,
       n.id AS neuron_id
  FROM {members} m
  JOIN public.neurons n ON n.model_id = m.model_id
  JOIN public.group_members gm ON gm.run_id = m.run_id AND gm.neuron_id = n.id
  JOIN public.neuron_groups g ON g.id = gm.group_id""",
    ),
)


def statements() -> list[str]:
    """CREATE VIEW and COMMENT ON for all views and their columns, in order.

    Raises:
        KeyError: a column has no words, or words have no column.
    """
    made: list[str] = []
    for name, comment, select in HELPERS:
        made += _create(name, comment, select, words_of(name.split(".")[1], select))
    for schema in ("history", "public"):
        for view in VIEWS:
            select = view.select.format(members=f"{schema}.members", schema=schema)
            made += _create(f"{schema}.{view.name}", view.comment, select, words_of(view.name, select))
    return made


def _create(name: str, comment: str, select: str, words: dict[str, str]) -> list[str]:
    told = [f"COMMENT ON VIEW {name} IS {_quoted(comment)}"]
    told += [f'COMMENT ON COLUMN {name}."{column}" IS {_quoted(said)}' for column, said in words.items()]
    return [f"CREATE VIEW {name} AS\n{select}", *told]


def _quoted(comment: str) -> str:
    return "'" + comment.replace("'", "''") + "'"
