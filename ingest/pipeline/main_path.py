"""The main path: checkpoints and a corpus in, one published run out.

1. `check`      settings, models and corpus as far as names, configurations and file endings tell
2. `recall`     what models and corpus hold is remembered of files that nobody changed; a published run that has every part
                is answered at once, before anything that takes seconds is imported
3. `from_files` models and corpus are read; their run is recognised by what they hold, or computed and published
"""

import time

from catalog.server.first_schema import open_for_ingest
from ingest.first_checks import check_ingest
from ingest.pipeline.recognise import recognise
from ingest.progress import Progress
from ingest.remembered.inputs import recall_inputs
from ingest.settings import IngestReport, IngestSettings


def ingest(settings: IngestSettings, progress: Progress) -> IngestReport:
    """Compute and publish what `settings` asks for, unless a published run has it already.

    Raises:
        CatalogError: bad input, no database, an old schema, or the same run at work elsewhere; nothing is published.
    """
    started = time.monotonic()
    check_ingest(settings)
    engine = open_for_ingest(settings.database_url, progress.say)
    try:
        asked = None if settings.again else recall_inputs(settings)
        recognised = None if asked is None else recognise(engine, settings.defined(asked.start), asked)
        if asked is not None and recognised is not None and recognised.answer is not None:
            for sentence in asked.told:
                progress.say(sentence)
            return recognised.report(engine, started)
        # seconds, in which a person may change their mind
        from ingest.pipeline.from_files import run_of_files

        return run_of_files(engine, settings, progress, started)
    finally:
        engine.dispose()
