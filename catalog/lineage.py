"""Steps of a training: which checkpoints are steps of one, read off what they are called, and which one each begins with."""

import re
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, text

from catalog import locks

_BEGINS, _ENDS = r"(?<![a-z0-9])", r"(?![a-z0-9]|\.[0-9])"
_STEP = re.compile(rf"[-_.]?{_BEGINS}(?:global[-_]?)?(?:step|checkpoint)[-_]?([0-9]+){_ENDS}", re.IGNORECASE)
_TOKENS = re.compile(rf"[-_.]?{_BEGINS}tokens?[-_]?[0-9.]+[kmbt]?{_ENDS}", re.IGNORECASE)
"""How much was read by then, which revisions of some trainings say beside the step."""
LAST_STEP = 2**31 - 1
"""The largest that the database holds."""


class Place(NamedTuple):
    """Where a checkpoint stands in a training."""

    training: str
    """What the checkpoints of a training are called alike."""
    step: int


def place_of(name: str, revision: str = "", folder: str = "") -> Place | None:
    """The step that a revision says, or else the name, or else the folder; None where none of them says just one,
    or nothing is left to call the training by.

    What else the revision says, such as a seed, is of the training's name: step1000-seed0 and step1000-seed1 are two trainings.

    Args:
        folder: where a local model is; of `runs/small/checkpoint-1000` the training is `small`, unless a name was given.
    """
    if (step := _step(revision)) is not None:
        return Place(_shown(name, _rest(revision)), step)
    if (step := _step(name)) is not None:
        training = _rest(name) or Path(folder).parent.name
        return Place(_shown(training, revision), step) if training else None
    step = _step(Path(folder).name)
    return None if step is None else Place(_shown(name, revision), step)


def _step(said: str) -> int | None:
    found = {int(digits) if len(digits) <= 20 else LAST_STEP + 1 for digits in _STEP.findall(said)}
    return found.pop() if len(found) == 1 and max(found) <= LAST_STEP else None


def _rest(said: str) -> str:
    """What is said beside the step."""
    return _TOKENS.sub("", _STEP.sub("", said)).strip("-_. ")


def _shown(name: str, rest: str) -> str:
    return f"{name}@{rest}" if rest else name


CHECKPOINTS = """
    SELECT m.id AS model_id, m.training, m.step, m.seed,
           CASE WHEN m.revision <> '' THEN m.name || '@' || m.revision ELSE m.name END AS checkpoint
      FROM public.models m WHERE m.step IS NOT NULL AND m.control_of IS NULL
     UNION ALL
    SELECT a.model_id, a.training, a.step, m.seed, a.name
      FROM public.model_aliases a JOIN public.models m ON m.id = a.model_id WHERE a.step IS NOT NULL"""
"""SQL: what is known to be a step of a training; a model by each of its names that says one."""

# all models, for what is published now may be what others begin with, and what was deleted may have been
_BEGIN = f"""
WITH steps AS ({CHECKPOINTS}), published AS (
       SELECT DISTINCT rm.model_id FROM run_models rm JOIN runs r ON r.id = rm.run_id AND r.published_at IS NOT NULL),
     beginnings AS (
       SELECT s.training, s.seed, min(s.model_id) AS model_id FROM steps s JOIN published p ON p.model_id = s.model_id
        WHERE s.step = 0 GROUP BY s.training, s.seed)
UPDATE models m SET init_of = found.init_of
  FROM (SELECT o.id, b.model_id AS init_of FROM models o
          LEFT JOIN beginnings b ON b.training = o.training AND b.seed IS NOT DISTINCT FROM o.seed
                                AND o.step > 0 AND o.control_of IS NULL) found
 WHERE found.id = m.id AND m.init_of IS DISTINCT FROM found.init_of"""


def begin_anew(connection: Connection) -> None:
    """Find again what each model begins with; at the end of a transaction that changed which models are published or named."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({locks.LINEAGE})"))
    connection.execute(text(_BEGIN))
