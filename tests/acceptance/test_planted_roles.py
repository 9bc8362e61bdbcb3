"""Neurons planted for what they do, not for what they read, are recovered with their sign in both seeds, read back by SQL."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

import catalog
from tests.acceptance.ingests import BUT_SYNTAX, rows
from tests.acceptance.planted_labels import SHORT, Place, assert_labels, ingested, labels_of, places
from tests.planted import PlantedFamily
from tests.planted_roles import FAMILIES, HEAD, planted_roles


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_roles(tmp_path_factory.mktemp("roles"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlantedFamily) -> Iterator[str]:
    with ingested(server, template, family, only=BUT_SYNTAX, context=SHORT) as url:
        yield url


def planted(family: PlantedFamily, *names: str) -> set[tuple[str, Place, str]]:
    """Model, place and label of all neurons with these labels."""
    return {
        (model, place, label)
        for neuron in family.neurons
        for label, _ in neuron.labels
        if label in names
        for model, place in places(family, (neuron.layer, neuron.index)).items()
    }


def test_planted_neurons_get_exactly_their_labels(published: str, family: PlantedFamily) -> None:
    assert {label for neuron in family.neurons for label, _ in neuron.labels} == set(FAMILIES)
    assert_labels(published, family, labels_of(family))


def test_predictions_are_promoted_suppressed_and_parted(published: str, family: PlantedFamily) -> None:
    found = rows(
        published,
        """SELECT model, layer, neuron, class, feature, sign(mean_difference), high_vocab_var, vocab_kurt, variance_reduction
           FROM prediction_neurons""",
    )
    assert {(model, (layer, neuron), name) for model, layer, neuron, name, *_ in found} == planted(
        family, "prediction", "suppression", "partition"
    )
    expected = {
        "prediction": ("all_numeric", 1, False),
        "suppression": ("all_numeric", -1, False),
        "partition": ("starts_w_space", 1, True),
    }
    for _, _, _, name, *shown, kurtosis, reduction in found:
        assert tuple(shown) == expected[name] and reduction > 0.85
        assert kurtosis < 2 if name == "partition" else kurtosis > 20
    ensembles = rows(published, "SELECT DISTINCT class, feature, sign FROM logit_ensembles ORDER BY 1")
    assert ensembles == [
        ("partition", "starts_w_space", "promotes"),
        ("prediction", "all_numeric", "promotes"),
        ("suppression", "all_numeric", "suppresses"),
    ]


def test_the_scale_and_the_entropy_rise_and_fall(published: str, family: PlantedFamily) -> None:
    found = rows(
        published,
        """SELECT model, layer, neuron, sign, opposite_of_layer, opposite_of_neuron, controls, candidates, delta_entropy,
                  delta_scale, coalesce(largest_control, 0), p
           FROM entropy_neurons""",
    )
    assert {(model, (layer, neuron), name) for model, layer, neuron, name, *_ in found} == planted(
        family, "entropy", "anti_entropy"
    )
    entropy = {model: place for model, place, _ in planted(family, "entropy")}
    for model, _, _, name, *opposite_of, controls, candidates, entropy_delta, scale_delta, largest, p in found:
        sign, of = (1, (None, None)) if name == "entropy" else (-1, entropy[model])
        # all other neurons of the layer but the decoy, which is a candidate of the layer before the last
        assert tuple(opposite_of) == of and controls == 75 - (1 if name == "entropy" else 2) and candidates == 3
        assert sign * entropy_delta > max(1, 1.5 * sign * largest) and sign * scale_delta > 0.05
        assert p == pytest.approx(1 / (1 + controls)), "no other direction of the layer does both as much"


def test_a_candidate_that_moves_nothing_stays_without_a_label(published: str, family: PlantedFamily) -> None:
    candidates = {
        (model, (layer, neuron)): delta
        for model, layer, neuron, delta in rows(
            published,
            """SELECT model, layer, neuron, delta_entropy FROM neuron_interventions
               WHERE purpose = 'candidate' AND kind = 'fix' AND value = 6""",
        )
    }
    pair = {(model, place) for model, place, _ in planted(family, "entropy", "anti_entropy")}
    decoys = {place: delta for place, delta in candidates.items() if place not in pair}
    assert pair <= set(candidates) and {model for model, _ in decoys} == {family.a.name, family.b.name} and len(decoys) == 2
    assert all(abs(delta) < 0.05 for delta in decoys.values())
    labelled = {
        (model, (layer, neuron))
        for model, layer, neuron in rows(
            published, "SELECT model, layer, neuron FROM neuron_labels WHERE family <> 'unexplained'"
        )
    }
    assert not labelled & set(decoys)


def test_a_head_is_silenced_and_awakened(published: str, family: PlantedFamily) -> None:
    found = rows(
        published,
        """SELECT model, layer, neuron, class, head_layer, head, h, chance, correlation, delta_p_bos, fractional_o_norm
           FROM attention_neurons""",
    )
    assert {(model, (layer, neuron), name) for model, layer, neuron, name, *_ in found} == planted(
        family, "attn_deactivation", "attn_activation"
    )
    for _, _, _, name, *head, h, chance, correlation, delta, output in found:
        raises = 1 if name == "attn_deactivation" else -1
        assert tuple(head) == HEAD and raises * h > 2.4 * chance
        # without a neuron that raises it, the attention to BOS falls and the head writes more
        assert -raises * correlation > 0.8 and raises * delta < -0.02 and raises * output > 0
    others = rows(
        published,
        """SELECT p.degenerate, max(s.multiple_of_chance), count(r.pearson)
           FROM neuron_head_scores s JOIN neuron_profiles p ON (p.run_id, p.neuron_id) = (s.run_id, s.neuron_id)
           LEFT JOIN neuron_path_ablations r ON (r.run_id, r.neuron_id, r.head_layer, r.head)
                                              = (s.run_id, s.neuron_id, s.head_layer, s.head) AND r.x = 'activation'
           WHERE NOT EXISTS (SELECT 1 FROM attention_neurons a WHERE a.run_id = s.run_id AND a.neuron_id = s.neuron_id)
           GROUP BY p.degenerate ORDER BY 1""",
    )
    (_, dense, _), (_, constant, correlations) = others
    # a constant one has the h of those that count, and what its ablation changes goes with nothing
    assert 0 < dense < 1.5 and constant > 2.4 and correlations == 0


def test_opposites_and_twins_find_each_other(published: str, family: PlantedFamily) -> None:
    pair = "model, layer, neuron, other_layer, other_neuron, mutual, cosine"
    opposites = rows(published, f"SELECT {pair} FROM antipodal_pairs")
    twins = rows(published, f"SELECT {pair}, out_cosine, same_partner FROM duplicate_neurons")
    assert_partners(family, opposites, "antipodal")
    assert_partners(family, twins, "duplicate")
    assert all(cosine < -0.99 for *_, cosine in opposites)
    assert all(cosine > 0.9 and 0.7 < out < 0.9 and same for *_, cosine, out, same in twins)


def assert_partners(family: PlantedFamily, found: list[tuple], name: str) -> None:
    """Each of the two in each model has the other one, mutually."""
    by_model: dict[str, set[Place]] = {}
    for model, place, _ in planted(family, name):
        by_model.setdefault(model, set()).add(place)
    expected = {(model, *place, *other) for model, both in by_model.items() for place in both for other in both - {place}}
    assert {row[:5] for row in found} == expected and len(found) == 4
    assert all(row[5] for row in found)


def test_they_are_found_by_family(published: str, family: PlantedFamily) -> None:
    with catalog.connect(published) as store:
        for name in FAMILIES:
            shown = store.find_labels(catalog.LabelFilter(family=name, limit=0))
            places_shown = zip(shown["model"], zip(shown["layer"], shown["neuron"], strict=True), shown["family"], strict=True)
            assert set(places_shown) == planted(family, name)
        numbers = store.find_labels(catalog.LabelFilter(family="prediction", subtype="all_numeric", model=family.b.name))
        assert len(numbers) == 1


def test_what_no_rule_knows_was_asked_for_all_of_them(published: str) -> None:
    evaluated = rows(published, "SELECT DISTINCT evidence -> 'evaluated' FROM neuron_labels WHERE family = 'unexplained'")
    known = {"position", "bos", *FAMILIES} - {"duplicate", "antipodal"}
    assert [set(families) for (families,) in evaluated] == [known]
