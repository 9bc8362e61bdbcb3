"""Plans as documents, as they are kept with a run."""

from dataclasses import astuple
from typing import Any

from ingest.parts.shapes import CorpusShape, ModelShape, Share, Size
from ingest.plan.items import (
    Item,
    JackknifeItem,
    Job,
    LayerItem,
    ModelItem,
    MomentItem,
    OwnItem,
    Plan,
    TileItem,
)
from ingest.statistics.tiles import LayerSpan


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as a document; `from_json` reads it back."""
    return {
        "shapes": [list(astuple(shape)) for shape in plan.shapes],
        "corpus": list(plan.corpus),
        "jobs": [
            {
                "kind": job.kind,
                "items": [_item_json(item) for item in job.items],
                "rows": [job.first_row, job.end_row],
                "after": list(job.after),
            }
            for job in plan.jobs
        ],
    }


def from_json(document: dict[str, Any]) -> Plan:
    """The plan that `as_json` wrote."""
    shapes = tuple(ModelShape(*shape) for shape in document["shapes"])
    jobs = [
        Job(
            number=number,
            kind=job["kind"],
            items=tuple(_item(entry, shapes) for entry in job["items"]),
            first_row=job["rows"][0],
            end_row=job["rows"][1],
            after=tuple(job["after"]),
        )
        for number, job in enumerate(document["jobs"])
    ]
    return Plan(tuple(jobs), shapes, CorpusShape(*document["corpus"]))


def _item_json(item: Item) -> list[Any]:
    match item:
        case MomentItem(model):
            return ["moments", model]
        case OwnItem(model, layer):
            return ["own", model, layer.first, layer.last]
        case LayerItem(measure, model, layers, size):
            return ["layers", measure, model, layers.first, layers.last, *astuple(size)]
        case ModelItem(measure, model, share, tokens, operations, n_bytes):
            return ["model", measure, model, *share, tokens, operations, n_bytes]
        case TileItem(a, b, rows, columns):
            return ["tile", a, b, rows.first, rows.last, columns.first, columns.last]
        case JackknifeItem():
            return ["jackknife", *astuple(item)]


def _item(entry: list[Any], shapes: tuple[ModelShape, ...]) -> Item:
    kind, *numbers = entry
    if kind == "moments":
        return MomentItem(numbers[0])
    if kind == "tile":
        a, b, first, last, left, right = numbers
        return TileItem(a, b, LayerSpan(first, last, shapes[a].d_mlp), LayerSpan(left, right, shapes[b].d_mlp))
    if kind == "jackknife":
        return JackknifeItem(*numbers)
    if kind == "model":
        measure, model, number, n_shares, *sizes = numbers
        return ModelItem(measure, model, Share(number, n_shares), *sizes)
    if kind == "layers":
        measure, model, first, last, *size = numbers
        return LayerItem(measure, model, LayerSpan(first, last, shapes[model].d_mlp), Size(*size))
    model, first, last = numbers
    return OwnItem(model, LayerSpan(first, last, shapes[model].d_mlp))
