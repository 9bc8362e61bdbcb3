"""A catalog of one's own for a measurement, and the ingests that fill it."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine, text

from catalog.server import embedded, migrate
from catalog.server.engine import writer_engine
from cli.progress import Lines
from ingest.pipeline.main_path import ingest
from ingest.settings import IngestSettings

HOME = "CATALOG_HOME"


@contextmanager
def own_catalog() -> Iterator[Engine]:
    """An empty catalog on a server of its own, which ends with it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        before = {name: os.environ.pop(name, None) for name in (HOME, "CATALOG_DATABASE_URL")}
        os.environ[HOME] = home
        try:
            engine = writer_engine()
            migrate.upgrade(engine)
            yield engine
            engine.dispose()
        finally:
            embedded.stop()
            os.environ.pop(HOME)
            os.environ.update({name: value for name, value in before.items() if value is not None})


def ingested(models: Sequence[str], corpus: str | Path, only: Sequence[str], **settings: Any) -> int:
    """Ingest; the run's id."""
    with Lines() as progress:
        asked = IngestSettings(tuple(models), str(corpus), model_family="pocket", only=tuple(only), **settings)
        return ingest(asked, progress).run_id


def rows(engine: Engine, statement: str, **values: Any) -> pd.DataFrame:
    """What a statement gives."""
    with engine.connect() as connection:
        return pd.read_sql_query(text(statement), connection, params=values)
