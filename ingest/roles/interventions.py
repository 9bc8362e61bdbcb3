"""Metrics of a model with some neurons fixed, zeroed, bounded or multiplied at every position (SPEC §8.2, §8.3).

One forward pass per batch serves all interventions. Neurons of the last layer are then answered by a formula, those of
earlier layers by the layers after theirs (see `final_layer` and `later_layers`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ingest.checkpoints.modules import MlpPass, Watch
from ingest.roles.final_layer import FinalLayer
from ingest.roles.intervention import Intervention
from ingest.roles.later_layers import Model, Seen, forward, forward_after, unembed
from ingest.roles.prediction_metrics import (
    InterventionResults,
    Nominal,
    PairedSums,
    intervened_metrics,
    nominal_metrics,
    scored_mask,
)

DEFAULT_TOKENS = 100_000
STACKED_TOKENS = 4096
"""Tokens that pass the later layers at once, of as many interventions as that allows."""
METRICS_AT_ONCE = 2**19
"""Tokens times interventions by formula, whose metrics are in memory at once."""


@torch.inference_mode()
def run_interventions(
    model: Model,
    tokens: np.ndarray,
    special_ids: Collection[int],
    interventions: Sequence[Intervention],
    n_tokens: int = DEFAULT_TOKENS,
    batch_tokens: int = 4096,
    device: torch.device | None = None,
    advance: Callable[[int], None] = lambda tokens: None,
    answered: slice = slice(None),
    most: int | None = None,
) -> InterventionResults:
    """Metrics of the model as it is and under each intervention, over M_next of the first rows of a corpus.

    Args:
        model: a checkpoint.
        tokens: (rows, context) ids, BOS first.
        special_ids: BOS, EOS and PAD, whose positions do not count.
        n_tokens: how many tokens are read, BOS included; the row that reaches this number is read to its end.
        batch_tokens: how many at once, one row at least; they take about 20 bytes per token and id of the vocabulary.
        device: where the model is; None: the CPU.
        advance: is told how many tokens were read.
        answered: which of the interventions are; what is found of one is the same to the bit, whichever others are.
        most: positions that count, evenly taken from M_next; None: all.
    Returns:
        Of those that are answered, in order.
    Raises:
        ValueError: the model has no such neuron.
    """
    _check(model, interventions)
    device = device or torch.device("cpu")
    engine = _Engine(model, interventions, device, range(len(interventions))[answered])
    context = tokens.shape[1]
    n_rows, step = min(len(tokens), -(-n_tokens // context)), max(1, batch_tokens // context)
    scored = scored_mask(np.asarray(tokens[:n_rows]), special_ids, most)
    for start in range(0, n_rows, step):
        part = slice(start, min(start + step, n_rows))
        rows = np.asarray(tokens[part], dtype=np.int64)
        engine.add(rows, scored[part])
        advance(rows.size)
    return engine.sums.results(answered)


def _check(model: Model, interventions: Sequence[Intervention]) -> None:
    for layer, index in (neuron for intervention in interventions for neuron in _neurons(intervention)):
        if not (0 <= layer < model.n_layers and 0 <= index < model.d_mlp):
            raise ValueError(
                f"there is no neuron {layer}.{index}; layers are 0 to {model.n_layers - 1}, neurons 0 to {model.d_mlp - 1}."
            )


def _neurons(intervention: Intervention) -> list[tuple[int, int]]:
    """Those that it changes, and the one along which it writes."""
    layer = intervention.first_layer
    return [*intervention.neurons, *((layer, index) for index in intervention.written_in(layer))]


class _Engine:
    """Interventions, ordered by how they are answered, and the sums of their metrics.

    Products and sums are of the shapes that they have if all are answered: of other shapes they may round otherwise.
    """

    def __init__(self, model: Model, interventions: Sequence[Intervention], device: torch.device, answered: range) -> None:
        self.model, self.interventions, self.device, self.answered = model, interventions, device, answered
        self.sums = PairedSums(len(interventions), device)
        self.activations, self.norm = model.modules.activations, model.modules.final_norm
        self.by_layer: dict[int, list[int]] = defaultdict(list)
        wanted: dict[int, set[int]] = defaultdict(set)
        for number, intervention in enumerate(interventions):
            first = intervention.first_layer
            self.by_layer[first].append(number)
            wanted[first].update(intervention.in_layer(first), intervention.written_in(first))
        self.neurons = {layer: sorted(indices) for layer, indices in wanted.items()}
        self.lengths = {layer: self._lengths(layer) for layer in self.neurons}
        final = model.n_layers - 1
        self.earlier = sorted(layer for layer, numbers in self.by_layer.items() if layer < final and self._answered(numbers))
        of_final = sorted(self.by_layer.get(final, []), key=lambda number: interventions[number].neurons)
        self.singles = [number for number in of_final if len(interventions[number].neurons) == 1]
        self.together = [number for number in of_final if len(interventions[number].neurons) > 1 and number in answered]
        self.final = FinalLayer(model, self.neurons[final]) if self._answered(of_final) else None

    def _answered(self, numbers: Sequence[int]) -> list[int]:
        """Places of those that are answered."""
        return [place for place, number in enumerate(numbers) if number in self.answered]

    def _lengths(self, layer: int) -> Tensor:
        """Of what the wanted neurons write, (neurons,) float64, as far as later layers see it."""
        return self.norm.centre(self.model.raw_w_out(layer)[self.neurons[layer]].double()).norm(dim=1)

    def add(self, rows: np.ndarray, mask: np.ndarray) -> None:
        """Add (rows, context) tokens, of which `mask` says the positions that count."""
        tokens = torch.from_numpy(rows).to(self.device)
        kept = torch.from_numpy(mask.reshape(-1).nonzero()[0]).to(self.device)
        if not len(kept):
            return
        columns = {layer: torch.tensor(indices, device=self.device) for layer, indices in self.neurons.items()}
        seen = forward(self.model, tokens, columns, self.earlier)
        # a position that counts is never the last of its row
        targets = tokens.flatten()[kept + 1]
        scale = self.norm.scale(seen.last)[kept]
        nominal = nominal_metrics(unembed(self.model, seen.normed[kept]), scale, targets)
        self.sums.add_nominal(nominal)
        if self.final is not None:
            self._add_final(self.final, seen, kept, nominal, scale)
        for layer in self.earlier:
            for numbers in _chunks(self.by_layer[layer], STACKED_TOKENS // rows.size):
                if self._answered(numbers):
                    self._add_earlier(layer, numbers, seen, kept, nominal)

    def _add_final(self, final: FinalLayer, seen: Seen, kept: Tensor, nominal: Nominal, scale: Tensor) -> None:
        layer = self.model.n_layers - 1
        residual = seen.last[kept]
        for numbers in _chunks(self.singles, METRICS_AT_ONCE // len(kept)):
            among = self._answered(numbers)
            if not among:
                continue
            changes = [self._change(numbers[place], layer, seen, kept) for place in among]
            delta = torch.cat([change for _, change in changes], dim=1)
            chosen = torch.tensor([place for places, _ in changes for place in places], device=self.device)
            metrics = final.one_each(nominal, residual, scale, delta.double(), chosen)
            self.sums.add(self._tensor(numbers), metrics, nominal, self._tensor(among))
        for number in self.together:
            places, delta = self._change(number, layer, seen, kept)
            metrics = final.together(nominal, residual, scale, delta.double(), self._tensor(places))
            self.sums.add(self._tensor([number]), metrics, nominal)

    def _add_earlier(self, layer: int, numbers: list[int], seen: Seen, kept: Tensor, nominal: Nominal) -> None:
        w_out = self.model.raw_w_out(layer)[self.neurons[layer]]
        residuals = []
        for number in numbers:
            places, delta = self._change(number, layer, seen, slice(None))
            residuals.append(seen.after[layer] + (delta @ w_out[places]).view_as(seen.after[layer]))
        last, normed = forward_after(self.model, layer, torch.cat(residuals), self._edits(layer, numbers))
        parts = zip(last.chunk(len(numbers)), normed.chunk(len(numbers)), strict=True)
        for number, (one_last, one_normed) in zip(numbers, parts, strict=True):
            if number not in self.answered:
                continue
            scale = self.norm.scale(one_last)[kept]
            metrics = intervened_metrics(nominal, unembed(self.model, one_normed[kept]), scale)
            self.sums.add(self._tensor([number]), metrics, nominal)

    def _change(self, number: int, layer: int, seen: Seen, positions: Tensor | slice) -> tuple[list[int], Tensor]:
        """In an intervention's first layer: places among the wanted neurons, and (positions, places) change of their post.

        Where it is written along another neuron, the change is that neuron's, by as much as its output weights are shorter.
        """
        intervention = self.interventions[number]
        own, written = (
            [self.neurons[layer].index(index) for index in indices]
            for indices in (intervention.in_layer(layer), intervention.written_in(layer))
        )
        shown = seen.mlps[layer].each(lambda values: values[positions][:, own])
        change = intervention.new_post(self.activations[layer], shown) - shown.post
        if written != own:
            change *= (self.lengths[layer][own] / self.lengths[layer][written]).to(change.dtype)
        return written, change

    def _edits(self, layer: int, numbers: list[int]) -> dict[int, Watch]:
        """What interventions that lie one after the other in a batch change in layers after `layer`."""
        later = {changed for number in numbers for changed, _ in self.interventions[number].neurons if changed > layer}

        def edit_of(changed: int) -> Watch:
            def edit(shown: MlpPass) -> None:
                size = len(shown.post) // len(numbers)
                for place, number in enumerate(numbers):
                    intervention, rows = self.interventions[number], slice(place * size, (place + 1) * size)
                    if indices := intervention.in_layer(changed):
                        wanted = shown.each(partial(_part, rows=rows, columns=indices))
                        shown.post[rows, indices] = intervention.new_post(self.activations[changed], wanted)

            return edit

        return {changed: edit_of(changed) for changed in later}

    def _tensor(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, device=self.device)


def _part(values: Tensor, rows: slice, columns: list[int]) -> Tensor:
    return values[rows, columns]


def _chunks(numbers: list[int], size: int) -> Iterator[list[int]]:
    size = max(1, size)
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
