"""Neurons of different seeds that are all each other's best match."""

from dataclasses import dataclass

import networkx as nx

Neuron = tuple[int, int]
"""(model, flat index), any integers that order."""


@dataclass(frozen=True)
class NeuronGroup:
    """A clique of mutual best matches; at most one neuron per model."""

    neurons: tuple[Neuron, ...]
    lowest_corr: float
    """The lowest correlation between two of its neurons."""


def neuron_groups(mutual: dict[tuple[Neuron, Neuron], float]) -> list[NeuronGroup]:
    """Partition neurons into cliques of mutual best matches.

    Every neuron is in one group at most: the largest clique is taken first (of equals, the one whose lowest correlation
    is highest, then the first in order), its neurons leave, and the rest is searched again.

    Args:
        mutual: correlation of each pair of mutual best matches, each pair once.
    """
    graph = nx.Graph()
    graph.add_weighted_edges_from((a, b, corr) for (a, b), corr in mutual.items())
    groups: list[NeuronGroup] = []
    for component in nx.connected_components(graph):
        groups.extend(_cliques_of(graph.subgraph(component).copy()))
    return sorted(groups, key=_rank)


def _cliques_of(graph: nx.Graph) -> list[NeuronGroup]:
    taken = []
    while graph.number_of_edges():
        best = min((_group(graph, clique) for clique in nx.find_cliques(graph) if len(clique) > 1), key=_rank)
        taken.append(best)
        graph.remove_nodes_from(best.neurons)
    return taken


def _group(graph: nx.Graph, clique: list[Neuron]) -> NeuronGroup:
    neurons = tuple(sorted(clique))
    lowest = min(graph[a][b]["weight"] for i, a in enumerate(neurons) for b in neurons[i + 1 :])
    return NeuronGroup(neurons, lowest)


def _rank(group: NeuronGroup) -> tuple[int, float, tuple[Neuron, ...]]:
    return (-len(group.neurons), -group.lowest_corr, group.neurons)
