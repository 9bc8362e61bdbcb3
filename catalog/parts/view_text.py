"""Pieces of the text of views that many share."""

NEURON = 'm.run_id, m.model, n.layer, n."index" AS neuron'
"""Columns of a view with a row of a neuron `n` of a member `m`."""
LABEL = 'm.run_id, m.model, l.layer, l."index" AS neuron'
"""The same of a label `l`."""
LABELS = "FROM {members} m\n  JOIN public.labels l ON l.run_id = m.run_id AND l.model_id = m.model_id AND l.family"
"""The labels of the members, of the families that a condition behind it names."""
JACKKNIFE = "sqrt((count(*) - 1) * var_pop({}))"
"""The standard error of an estimate, given what it is without each of g blocks of documents, less any number: the root of
(g - 1) / g of their sum of squares about their mean (`ingest.statistics.jackknife`)."""
