"""The table of checksums, by which a published run can be compared with what was published."""

from sqlalchemy import BigInteger, Integer, Numeric, Text
from sqlalchemy.dialects.postgresql import ARRAY

from catalog.schema.base import column, refers, table

run_checksums = table(
    "run_checksums",
    column("run_id", Integer, "The run.", refers("runs.id", cascade=True), key=True),
    column("table_name", Text, "The table whose rows of the run are summed.", key=True),
    column("columns", ARRAY(Text), "The columns that enter, in order; columns added later do not."),
    column("n_rows", BigInteger, "Rows of the run."),
    column("bits", BigInteger, "Exclusive or over rows of hash_record_extended(row, 0); 0 without rows."),
    column("total", Numeric, "Sum over rows of hashint8extended of that hash; 0 without rows."),
    column("server_version", Integer, "Major version of the PostgreSQL server that computed them."),
    comment="Row counts and checksums of each run as it was published, for `catalog verify`.",
    serves="verify: the checksum of each table of a run",
)
