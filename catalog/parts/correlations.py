"""The part `correlations`: which neurons of different models are active together, and come back in every seed (UN 4.1)."""

from sqlalchemy import ARRAY, REAL, Boolean, Identity, Integer, SmallInteger, Text

from catalog.parts.correlation_checks import CHECKS
from catalog.parts.correlation_views import VIEWS
from catalog.parts.part import Part, Rows, Section
from catalog.parts.rule import Threshold
from catalog.schema.base import (
    OVER_BLOCKS,
    check,
    column,
    error_of,
    index,
    number,
    of_neuron,
    place_of_neuron,
    refers,
    table,
    unique,
)
from catalog.schema.runs import run_pairs
from catalog.words import UNIVERSAL, UNIVERSAL_STATES

CORRELATION = "BETWEEN -1 AND 1"

pairs = table(
    "pairs",
    *of_neuron(),
    column("other_neuron_id", Integer, "A neuron of another model.", refers("neurons.id", cascade=True), key=True),
    column("other_model_id", Integer, "That neuron's model.", refers("models.id", cascade=True)),
    column(
        "correlation",
        REAL,
        "Pearson correlation of post (SPEC 2.1).",
        check("correlation_range", f"correlation {CORRELATION}"),
    ),
    column("rank", SmallInteger, "1 is the best partner in that model.", check("rank_positive", "rank >= 1")),
    column("mutual_best", Boolean, "Each is the other's best partner."),
    column(
        "correlation_se",
        REAL,
        f"Standard error of correlation, {OVER_BLOCKS}.",
        check("correlation_se_not_negative", "correlation_se >= 0"),
        null=True,
    ),
    comment="The k most correlated partners of each neuron in each other model; partitioned by run.",
    serves="matches and neuron_matches: the partners of a neuron in a run",
    by_run=True,
)

universality = table(
    "universality",
    *of_neuron(),
    number("max_corr", "Largest over other models of the best correlation there (SPEC 2.4).", ranked=True),
    number("mean_corr", "Mean over other models of the best correlation.", ranked=True),
    number("min_corr", "Smallest over other models of the best correlation.", ranked=True),
    number("max_baseline", "Largest over other models of the best correlation with rotated units.", ranked=True),
    number("mean_baseline", "Mean over other models of that baseline.", ranked=True),
    number("min_baseline", "Smallest over other models of that baseline.", ranked=True),
    number("excess_corr", "mean_corr - mean_baseline (UN eq. 3).", ranked=True),
    column("n_models", SmallInteger, "Other models in which the neuron's correlation is defined."),
    column("n_degenerate", SmallInteger, "Other models in which it is not."),
    *place_of_neuron(),
    column(
        "universal",
        Text,
        "yes: excess_corr - 1.96 excess_se is above universal.min_excess of the rules (UN eq. 3); no: excess_corr + 1.96"
        " excess_se is not, or excess_corr is undefined; undecided: neither, or excess_se is unknown.",
        check("universal_known", f"universal IN {UNIVERSAL_STATES}"),
        server_default="no",
    ),
    error_of("mean_corr", "A block is left out of all models at once."),
    number(
        "excess_se",
        "Standard error of excess_corr, over blocks of documents, left out of best correlations and baselines alike, and over"
        " draws of the baseline; NULL with fewer than 10 blocks or a single draw.",
    ),
    comment="Universality of each neuron over the other models of the run (UN 4.1).",
    by_rules=True,
)
index(
    "ix_universality_by_excess",
    "universal: neurons of a model above a threshold that is asked for, highest excess correlation first",
    universality.c.run_id,
    universality.c.model_id,
    universality.c.excess_corr.desc().nulls_last(),
    universality.c.layer,
)
index(
    "ix_universality_of_universal",
    "universal: the neurons of a model that are universal, or undecided, highest excess correlation first",
    universality.c.run_id,
    universality.c.model_id,
    universality.c.universal,
    universality.c.excess_corr.desc().nulls_last(),
    universality.c.layer,
)
index(
    "ix_universality_by_place",
    "universal neurons of a model, or undecided ones, by layer and index",
    universality.c.run_id,
    universality.c.model_id,
    universality.c.universal,
    universality.c.layer,
    universality.c.index,
)

universality_by_model = table(
    "universality_by_model",
    *of_neuron(),
    column("other_model_id", Integer, "The other model.", refers("models.id", cascade=True), key=True),
    column(
        "max_corr",
        REAL,
        "Best correlation in that model; NULL if degenerate.",
        check("max_corr_range", f"max_corr {CORRELATION}"),
        null=True,
    ),
    column("other_neuron_id", Integer, "The neuron that has it.", refers("neurons.id", cascade=True), null=True),
    column("baseline", REAL, "Best correlation with rotated units of that model, mean over draws (SPEC 2.2).", null=True),
    column("baseline_sd", REAL, "Standard deviation over draws; NULL for one draw.", null=True),
    column("baseline_layer", SmallInteger, "Layer of the largest baseline.", null=True),
    column("diag_corr", REAL, "Correlation with the neuron of equal layer and index; NULL if shapes differ.", null=True),
    column("mutual_best", Boolean, "The best partner's best partner is this neuron."),
    column(
        "max_corr_se",
        REAL,
        f"Standard error of max_corr, {OVER_BLOCKS}.",
        check("max_corr_se_not_negative", "max_corr_se >= 0"),
        null=True,
    ),
    column(
        "baseline_se",
        REAL,
        "Standard error of baseline, over draws; NULL for one draw.",
        check("baseline_se_not_negative", "baseline_se >= 0"),
        null=True,
    ),
    column(
        "without_blocks",
        ARRAY(REAL),
        "What the correlation with the best partner is without each block of documents that has tokens, less max_corr, in"
        " order of blocks; NULL where max_corr_se is.",
        check("without_blocks_has_error", "(without_blocks IS NULL) = (max_corr_se IS NULL)"),
        null=True,
    ),
    column(
        "baseline_without_blocks",
        ARRAY(REAL),
        "What the baseline is without each of these blocks, less what it is: mean over the first two draws, each with the"
        " rotated unit that is best over all blocks; NULL where unknown.",
        null=True,
    ),
    comment="Best match and baseline of each neuron in each other model. By run.",
    serves="show and neuron_universality_by_model: a neuron's best match in each other model",
    by_run=True,
)

neuron_groups = table(
    "neuron_groups",
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True)),
    column("size", SmallInteger, "Neurons in the group, one per model.", check("size_two_or_more", "size >= 2")),
    column("lowest_corr", REAL, "Lowest correlation between two of them."),
    comment="Cliques of mutual best matches; a neuron is in one group of a run at most.",
    serves="groups: the group of a member",
)
index(
    "ix_neuron_groups_run_id_size",
    "groups, largest first and then the most alike",
    neuron_groups.c.run_id,
    neuron_groups.c.size.desc(),
    neuron_groups.c.lowest_corr.desc(),
)

group_members = table(
    "group_members",
    column("group_id", Integer, "The group.", refers("neuron_groups.id", cascade=True), key=True),
    column("neuron_id", Integer, "A neuron in it.", refers("neurons.id", cascade=True), key=True),
    column("run_id", Integer, "The group's run.", refers("runs.id", cascade=True)),
    unique("run_id", "neuron_id", serves="neuron_group_members: the group that a neuron is in"),
    comment="Neurons of each group.",
    serves="groups: the members of a group",
)

PART = Part(
    name="correlations",
    about="partners in other models, universality, groups",
    reads="corpus",
    version=3,
    settings=("baseline_draws", "top_k"),
    rows=(
        Rows(pairs, "pair"),
        Rows(universality, "neuron", of_all_models=True),
        Rows(universality_by_model, "pair"),
        Rows(group_members, "some", of_all_models=True),
        Rows(neuron_groups, "run", of_all_models=True),
        Rows(run_pairs, "run", of_all_models=True),
    ),
    views=VIEWS,
    thresholds=(
        (
            UNIVERSAL,
            Threshold("min_excess", 0.5, "The excess correlation that a universal neuron exceeds by 1.96 errors (UN eq. 3)."),
        ),
    ),
    checks=CHECKS,
    page=(
        Section(
            "best_matches",
            "Best match in each other model",
            """
SELECT v.other_model, v.other_layer, v.other_neuron, v.max_corr, v.max_corr_se, v.baseline, v.baseline_se, v.diag_corr,
       v.mutual_best,
       (SELECT string_agg(l.family || ':' || l.subtype, ', ' ORDER BY l.family, l.subtype) FROM labels l
         WHERE l.run_id = v.run_id AND l.neuron_id = v.other_neuron_id) AS other_labels
  FROM history.neuron_universality_by_model v
 WHERE v.run_id = :run AND v.neuron_id = :neuron ORDER BY v.other_model""",
        ),
    ),
)
