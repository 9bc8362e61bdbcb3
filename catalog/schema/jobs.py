"""Tables of the jobs that a run is cut into, and of what they found before it is published."""

from sqlalchemy import BigInteger, Double, Integer, LargeBinary, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from catalog.schema.base import check, column, refers, table
from catalog.schema.runs import Moment

run_jobs = table(
    "run_jobs",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("job", SmallInteger, "Number within the run, from 0.", key=True),
    column(
        "kind",
        Text,
        "pivots, accumulate, combine, jackknife or measure.",
        check("kind_known", "kind IN ('pivots', 'accumulate', 'combine', 'jackknife', 'measure')"),
    ),
    column("after", ARRAY(SmallInteger), "Jobs of the run whose results it reads."),
    column("tokens", BigInteger, "Tokens that go through the models, BOS included."),
    column("bytes", BigInteger, "Memory of its accumulators."),
    column("flop", Double, "Operations of its matrix products and forward passes."),
    column("tokens_done", BigInteger, "Tokens of the present attempt that are done.", server_default=text("0")),
    column("attempts", Integer, "Times it was begun.", server_default=text("0")),
    column("worker", Text, "Who began it last: host, process and device.", null=True),
    column("started_at", Moment, "When it was begun last.", null=True),
    column("finished_at", Moment, "When its results were safe; NULL before.", null=True),
    column("sums_file", Text, "File of the sums it leaves for other jobs, below the run's staging folder.", null=True),
    column("error", Text, "Why the latest attempt ended early.", null=True),
    column("failures", Integer, "Attempts by workers that ended in an error.", server_default=text("0")),
    comment="The pieces of work of each run: of the latest attempt at it, or at parts of it.",
    serves="runs watch and workers: the jobs of a run in order",
)

run_job_results = table(
    "run_job_results",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("job", SmallInteger, "The job that found it.", key=True),
    column("name", Text, "What it is: pivots, moments, a tile, a measure; with the models and layers, or the share.", key=True),
    column("data", LargeBinary, "Arrays in numpy's npz format."),
    comment="Results of jobs until the run is published; the reader role cannot see them.",
    serves="publication: what the jobs of a run found",
)
