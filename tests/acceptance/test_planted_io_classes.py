"""Planted reading-and-writing classes are read back by SQL, as raw weights have them; a twin of other signs has the same."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import URL

import catalog
from catalog.words import IO_CLASSES
from tests.acceptance.ingests import rows, run_ingest
from tests.conftest import database
from tests.decoders import N_LAYERS, tiny_decoder
from tests.factories import load_raw
from tests.planted_io_classes import COSINES, D_MLP, PlantedClasses, planted_classes
from tests.raw_io_classes import class_of, classes_of, cosines_of, neurons_of

CLASSES = """SELECT layer, neuron, class, in_out_sim, gate_out_sim, gate_in_sim FROM io_classes
              WHERE model = :model ORDER BY 1, 2"""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedClasses:
    return planted_classes(tmp_path_factory.mktemp("io_classes"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlantedClasses) -> Iterator[str]:
    with database(server, template) as url:
        run_ingest(url, [family.model, family.twin], None, only=("weights",))
        yield url


def test_neurons_of_every_class_are_read_back(published: str, family: PlantedClasses) -> None:
    assert {*family.planted.values()} == {*IO_CLASSES} and len(family.planted) == N_LAYERS * len(IO_CLASSES)
    found = {(layer, neuron): (name, cosines) for layer, neuron, name, *cosines in rows(published, CLASSES, model="classes")}
    for place, name in family.planted.items():
        c1, c2, c3 = COSINES[name]
        assert found[place][0] == name and found[place][1] == pytest.approx([c1, c2, c3], abs=1e-6)


@pytest.mark.parametrize("model", ["classes", "twin"])
def test_all_neurons_have_the_class_that_raw_weights_give(published: str, family: PlantedClasses, model: str) -> None:
    folder = {"classes": family.model, "twin": family.twin}[model]
    names = [name for _, _, name, *_ in rows(published, CLASSES, model=model)]
    assert names == [name for layer in classes_of(load_raw(folder)) for name in layer]
    counts = rows(published, "SELECT class, sum(neurons) FROM io_class_counts WHERE model = :model GROUP BY 1", model=model)
    assert {name: count for name, count in counts if count} == Counter(names)
    labels = rows(published, "SELECT subtype FROM neuron_labels WHERE model = :model AND family = 'io_class'", model=model)
    assert Counter(name for (name,) in labels) == Counter(name for name in names if name != "orthogonal")


def test_mismatched_classes_are_those_of_the_output_weights_drawn(published: str, family: PlantedClasses) -> None:
    others = rows(
        published,
        """SELECT n.layer, n."index", w.mismatched_index, c.mismatched_class FROM weight_statistics w
             JOIN neurons n ON n.id = w.neuron_id JOIN io_classes c ON c.neuron_id = n.id AND c.run_id = w.run_id
            WHERE c.model = 'classes' ORDER BY 1, 2""",
    )
    layers = [*neurons_of(load_raw(family.model))]
    for layer, neuron, other, name in others:
        own = layers[layer]
        c1, c2, c3 = cosines_of(type(own)(*(weights[[neuron]] for weights in own[:2]), own.output[[other]]))
        assert c2 is not None and c3 is not None and other != neuron and 0 <= other < D_MLP
        assert name == class_of(c1.item(), c2.item(), c3.item())
    counts = "SELECT class, sum(mismatched_neurons) FROM io_class_counts WHERE model = 'classes' GROUP BY 1"
    assert {name: count for name, count in rows(published, counts) if count} == Counter(name for *_, name in others)


def test_signs_of_input_and_output_change_nothing(published: str, family: PlantedClasses) -> None:
    one, other = (load_raw(folder).model.layers[0].mlp.up_proj.weight for folder in (family.model, family.twin))
    assert not torch.equal(one, other) and torch.equal(one.abs(), other.abs())
    columns = """layer, neuron, w_in_norm, w_out_norm, input_bias, in_out_sim, l2_penalty, w_gate_norm, gate_bias, gate_out_sim,
                 gate_in_sim, vocab_mean, vocab_var, vocab_skew, vocab_kurt, logit_var, logit_skew, logit_kurt"""
    statements = [f"SELECT {columns} FROM neuron_profiles WHERE model = :model ORDER BY 1, 2", CLASSES]
    statements += ["SELECT layer, neuron, family, subtype, score FROM neuron_labels WHERE model = :model ORDER BY 1, 2, 3, 4"]
    for statement in statements:
        assert rows(published, statement, model="classes") == rows(published, statement, model="twin") != []


def test_a_page_shows_gate_and_cosines(published: str, family: PlantedClasses) -> None:
    place = next(place for place, name in family.planted.items() if name == "weakening")
    with catalog.connect(published) as store:
        page = store.neuron(catalog.NeuronRef("classes", *place))
        found = store.find_labels(catalog.LabelFilter(family="io_class", subtype="weakening", model="classes", limit=0))
    shown = page.statistics.set_index("statistic")["value"]
    assert shown[["in_out_sim", "gate_out_sim", "gate_in_sim"]].tolist() == pytest.approx([-0.8, -0.8, 0.8], abs=1e-6)
    assert shown["w_gate_norm"] > 0 and shown["gate_bias"] != 0
    assert page.labels["subtype"].tolist() == ["weakening"]
    assert place in {*found[["layer", "neuron"]].itertuples(index=False, name=None)}


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "gpt2", "gpt_neox", "opt", "olmo2"])
def test_other_architectures_have_the_classes_of_raw_weights(
    server: URL, template: str, tmp_path: Path, architecture: str
) -> None:
    """So narrow that some cosines are large by chance."""
    folder = tiny_decoder(architecture, tmp_path / "model")
    with database(server, template) as url:
        run_ingest(url, [folder], None, only=("weights",))
        found = rows(url, CLASSES, model="model")
        shares = rows(url, "SELECT class, sum(expected_by_chance), sum(neurons) FROM io_class_counts GROUP BY 1")
        gated = rows(url, "SELECT bool_and(w_gate_norm IS NOT NULL), bool_or(w_gate_norm IS NOT NULL) FROM neuron_profiles")
    names = [name for _, _, name, *_ in found]
    assert names == [name for layer in classes_of(load_raw(folder)) for name in layer]
    assert len({*names}) >= 2 and {count for name, _, count in shares if name == "orthogonal"} == {names.count("orthogonal")}
    assert sum(expected for _, expected, _ in shares) == pytest.approx(len(names))
    is_gated = architecture in ("qwen2", "gemma2", "olmo2")
    assert gated == [(is_gated, is_gated)] and len(shares) == (11 if is_gated else 3)
