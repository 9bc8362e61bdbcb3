"""Tables that say what was computed: runs, their models, pairs and parts."""

from sqlalchemy import ARRAY, Boolean, DateTime, Identity, Integer, SmallInteger, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from catalog.schema.base import check, column, index, refers, table

Moment = DateTime(timezone=True)

runs = table(
    "runs",
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("identity", Text, "sha256 over models, tokens, context, seed and precision: what makes a run."),
    column(
        "status",
        Text,
        "How the latest attempt is, at the run or at parts of it: queued (workers compute it), running, published, failed "
        "(error), interrupted (Ctrl-C, SIGTERM, killed) or cancelled. Readers see whatever has a published_at.",
        check("status_known", "status IN ('queued', 'running', 'published', 'failed', 'interrupted', 'cancelled')"),
    ),
    column("phase", Text, "The phase reached: tokenise, accumulate, stage, merge, publish.", null=True),
    column("superseded", Boolean, "A newer run with the same identity is published.", server_default=text("false")),
    column(
        "corpus_id",
        Integer,
        "The corpus; NULL before publication and for weights alone.",
        refers("corpora.id"),
        null=True,
    ),
    column("model_family", Text, "The family named at ingest.", null=True),
    column("settings", JSONB, "What it was read from, and how; the numbers of parts are in run_parts."),
    column(
        "asked",
        JSONB,
        "What the latest attempt was asked for, as those need to know who do its jobs.",
        server_default=text("'{}'::jsonb"),
    ),
    column("definition_versions", JSONB, "Definition version of each part computed."),
    column("code_version", Text, "git commit of the code."),
    column("device", Text, "What computed it."),
    column("host", JSONB, "Machine and library versions, to repeat the run.", server_default=text("'{}'::jsonb")),
    column("created_at", Moment, "When it was first asked for.", server_default=func.now()),
    column("started_at", Moment, "When the latest attempt began.", server_default=func.now()),
    column("finished_at", Moment, "When the latest attempt ended, well or badly.", null=True),
    column("published_at", Moment, "When readers could first see it, which they do from then on; NULL before.", null=True),
    column("error", Text, "Why the latest attempt failed, or what interrupted it.", null=True),
    column("plan", JSONB, "How the work of the latest attempt is cut into jobs; NULL before it is planned.", null=True),
    column("staging_folder", Text, "Folder of sums and checkpoints; NULL once it is removed.", null=True),
    column(
        "left_to_workers",
        Boolean,
        "Workers are to compute and publish it; false again once it is published, cancelled or given up.",
        server_default=text("false"),
    ),
    column("failures", Integer, "Publications by workers that ended in an error.", server_default=text("0")),
    check("published_has_time", "status <> 'published' OR published_at IS NOT NULL"),
    comment="Computations. Views show published runs only.",
    serves="runs show, and the joins of views with the run that measured a row",
    used="t.id = :run_id",
    hashed="always",
)
index(
    "ix_runs_one_unpublished_per_identity",
    "begin_run, which takes an interrupted run over, and forbids two of them",
    runs.c.identity,
    unique=True,
    postgresql_where=text("published_at IS NULL"),
)

run_models = table(
    "run_models",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("model_id", Integer, "A model in it.", refers("models.id"), key=True),
    column("ordinal", SmallInteger, "Place on the command line, from 0."),
    column("statistics_run_id", Integer, "The run that computed the model's own rows; rows are copied from it."),
    comment="The models of a run.",
    serves="runs show, and the view members: the models of a run",
    hashed="always",
)
index(
    "ix_run_models_model_id",
    "the view members: the newest published run of each model",
    run_models.c.model_id,
    run_models.c.run_id,
)

run_controls = table(
    "run_controls",
    column(
        "run_id",
        Integer,
        "The run whose labels are compared with what chance gives.",
        refers("runs.id", cascade=True),
        key=True,
    ),
    column(
        "control_run_id",
        Integer,
        "A run of a control: a model of this run, each neuron's input weights permuted, on the corpus or its first rows.",
        refers("runs.id", cascade=True),
        key=True,
    ),
    comment="The controls of a run, each a run of its own that no view shows.",
    serves="family_counts and the rule position: the controls of a run",
)
index(
    "ix_run_controls_control_run_id",
    "publication and deletion of a control: the runs that it is the control of",
    run_controls.c.control_run_id,
)

run_pairs = table(
    "run_pairs",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("model_id", Integer, "One model.", refers("models.id"), key=True),
    column("other_model_id", Integer, "The other; the larger id.", refers("models.id"), key=True),
    column("computed_run_id", Integer, "The run that computed the pair; rows are copied from it."),
    check("ordered", "model_id < other_model_id"),
    comment="The model pairs of a run, each once.",
    serves="extending a run: the model pairs that it has",
)

run_undefined = table(
    "run_undefined",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("model_id", Integer, "A model of it.", refers("models.id", cascade=True), key=True),
    column("part", Text, "The part of the run that has not everything of the model, such as weights.", key=True),
    column("measure", Text, "What of the part is concerned, by the name that it has in the code.", key=True),
    column(
        "left_out",
        ARRAY(Text),
        "Tables that have no rows of the model, some with the condition on such rows, and columns, as table.column, that are "
        "NULL in its rows.",
    ),
    column("reason", Text, "Why they are not defined for the model, in words that follow because."),
    comment="What parts of a run are not defined for a model, and were left out; all else was computed.",
    serves="runs show: what a run has not",
    hashed="always",
)

run_parts = table(
    "run_parts",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("part", Text, "Its name, such as weights.", key=True),
    column("definition_version", Integer, "Version of the definitions that the numbers follow."),
    column(
        "settings",
        JSONB,
        "Values of the settings that concern the part, by name; topics by the sha256 of their file.",
        server_default=text("'{}'::jsonb"),
    ),
    column("published_at", Moment, "When readers could first see the part as it is.", server_default=func.now()),
    column(
        "models_sha256",
        Text,
        "sha256 over the sorted identities, one a line, of the models that the part was computed of.",
        null=True,
    ),
    comment="Which parts a run has.",
    serves="runs list, and extending a run: the parts that it has",
    hashed="always",
)
