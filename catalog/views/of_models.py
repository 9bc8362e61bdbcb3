"""Views of models as a whole: which share tensors, and how a training goes on."""

from catalog.lineage import CHECKPOINTS
from catalog.parts.part import View
from catalog.parts.rule import in_force
from catalog.words import TENSORS

_TELLS = f"t.n_distinct >= {in_force(TENSORS, 'min_distinct')}"
_ALIKE = "s.sha256 = t.sha256 AND s.shape = t.shape"


def _counted(model: str) -> str:
    return f"(SELECT count(DISTINCT t.sha256) FROM public.model_tensors t WHERE t.model_id = {model} AND {_TELLS})"


def _known(model: str) -> str:
    return f"EXISTS (SELECT FROM public.model_tensors t WHERE t.model_id = {model} AND {_TELLS})"


SHARED_TENSORS = View(
    "shared_tensors",
    "Pairs of models that share tensors, though they are different: equal values, under whatever name. Tensors with few"
    " distinct values, such as gains of one and biases of zero, say nothing and are left out; tied or copied ones count once.",
    f"""SELECT m.run_id, m.model, o.model AS other_model, count(DISTINCT t.sha256) AS n_shared,
       {_counted("m.model_id")} AS n_tensors,
       array_agg(DISTINCT t.name ORDER BY t.name) AS names, m.model_id, o.model_id AS other_model_id
  FROM {{members}} m
  JOIN public.model_tensors t ON t.model_id = m.model_id AND {_TELLS}
  JOIN public.model_tensors s ON {_ALIKE} AND s.model_id <> t.model_id
  JOIN (SELECT DISTINCT x.model_id, x.model FROM {{members}} x) o ON o.model_id = s.model_id
 GROUP BY m.run_id, m.model_id, m.model, o.model_id, o.model""",
    words={
        "run_id": "A published run with the model.",
        "n_shared": "Tensors of the model that the other one has as well, each of several equal ones once.",
        "n_tensors": "Of how many: tensors of the model with at least tensors.min_distinct of the rules distinct values.",
        "names": "Names that the shared tensors have in the model.",
        "other_model": "The other model: its name, or name@revision.",
        "model_id": "The model: id of models.",
        "other_model_id": "The other model: id of models.",
    },
)

LINEAGES = View(
    "lineages",
    "Steps of each training, in the order of training and step, and how much of a step is as it was one step before.",
    f"""SELECT m.run_id, k.training, k.seed, k.step, k.checkpoint, m.model, b.step AS previous_step, b.model AS previous_model,
       e.n_equal, c.n_tensors, e.n_equal::double precision / c.n_tensors AS share_equal, i.model AS init, m.model_id
  FROM {{members}} m
  JOIN ({CHECKPOINTS}) k ON k.model_id = m.model_id
  JOIN public.models own ON own.id = m.model_id
  LEFT JOIN history.model_names i ON i.model_id = own.init_of
  LEFT JOIN LATERAL (SELECT p.step, p.model_id, x.model FROM ({CHECKPOINTS}) p JOIN {{members}} x ON x.model_id = p.model_id
                      WHERE p.training = k.training AND p.seed IS NOT DISTINCT FROM k.seed AND p.step < k.step
                      ORDER BY p.step DESC, p.model_id LIMIT 1) b ON true
  LEFT JOIN LATERAL (SELECT {_counted("m.model_id")} AS n_tensors WHERE {_known("m.model_id")}) c ON true
  LEFT JOIN LATERAL (SELECT count(DISTINCT t.sha256) AS n_equal FROM public.model_tensors t
                       JOIN public.model_tensors s ON {_ALIKE} AND s.model_id = b.model_id
                      WHERE t.model_id = m.model_id AND {_TELLS}
                     HAVING {_known("m.model_id")} AND {_known("b.model_id")}) e ON true""",
    words={
        "run_id": "A published run with the model.",
        "training": "Name of the training: of its checkpoints, without the step, with what revisions say beside it.",
        "seed": "Seed of the training, where known.",
        "step": "Optimiser steps so far.",
        "checkpoint": "What says so: name@revision of the model, or another of its names, which stands for the same weights.",
        "previous_step": "The step before that the catalog has; NULL of the first.",
        "previous_model": "Its model: its name, or name@revision; the same model where the two steps have the same weights.",
        "n_equal": "Tensors of the model that the previous one has as well, as in shared_tensors; NULL of the first.",
        "n_tensors": "Of how many, as in shared_tensors; NULL where nothing is known of tensors.",
        "share_equal": "n_equal / n_tensors, 0 to 1: above 0 if weights were left as they were.",
        "init": "The model at step 0 that the training begins with: init_of of models; NULL of step 0 and where it is unknown.",
        "model_id": "The model: id of models.",
    },
)

VIEWS = (SHARED_TENSORS, LINEAGES)
