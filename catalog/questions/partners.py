"""The best partners of many neurons at once."""

from collections.abc import Sequence

from sqlalchemy import Connection

from catalog.answers import Rows, Values, ask
from catalog.questions.known import check_run, schema_of
from catalog.questions.neuron_page import NeuronRef


def best_partners(connection: Connection, refs: Sequence[NeuronRef], run: int | None = None) -> Rows:
    """The best match of each neuron in each other model: model, layer, neuron, other_model, other_layer, other_neuron,
    correlation, mutual_best; of each neuron the highest correlation first, then by other model.

    Raises:
        NotFoundError: no such run. Neurons that do not exist have no rows.
    """
    check_run(connection, run)
    values: Values = {
        "models": [ref.model for ref in refs],
        "layers": [ref.layer for ref in refs],
        "neurons": [ref.index for ref in refs],
    }
    if run is not None:
        values["run"] = run
    return ask(
        connection,
        f"""SELECT a.model, a.layer, a.neuron, v.other_model, v.other_layer, v.other_neuron, v.correlation, v.mutual_best
            FROM unnest(CAST(:models AS text[]), CAST(:layers AS int[]), CAST(:neurons AS int[])) AS a(model, layer, neuron)
            JOIN {schema_of(run)}.members b ON b.model = a.model {"AND b.run_id = :run" if run is not None else ""}
            JOIN public.neurons n ON n.model_id = b.model_id AND n.layer = a.layer AND n."index" = a.neuron
            JOIN history.neuron_matches v ON v.run_id = b.run_id AND v.neuron_id = n.id AND v.rank = 1
            ORDER BY a.model, a.layer, a.neuron, v.correlation DESC, v.other_model""",
        values,
    )
