"""Steps are read off revisions, names and folders, whatever these are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.lineage import LAST_STEP, Place, place_of

SAID = [
    (("pythia-70m", "step1000"), ("pythia-70m", 1000)),
    (("pythia-70m", "step0"), ("pythia-70m", 0)),
    (("neox", "global_step1000"), ("neox", 1000)),
    (("neox", "global-step-1000"), ("neox", 1000)),
    (("datadecide", "step1000-seed0"), ("datadecide@seed0", 1000)),
    (("datadecide", "step1250-seed-default"), ("datadecide@seed-default", 1250)),
    (("datadecide", "step1250-seed-small-aux-2"), ("datadecide@seed-small-aux-2", 1250)),
    (("mistral", "checkpoint-1000"), ("mistral", 1000)),
    (("olmo", "step1000-tokens4B"), ("olmo", 1000)),
    (("olmo", "stage2-step1000-tokens4B"), ("olmo@stage2", 1000)),
    (("pythia-step143000", "main"), ("pythia@main", 143000)),
    (("pythia-step143000", ""), ("pythia", 143000)),
    (("pythia_step_512-seed1", ""), ("pythia-seed1", 512)),
    (("checkpoint-500", "", "/runs/small/checkpoint-500"), ("small", 500)),
    (("small", "", "/runs/other/checkpoint-500"), ("small", 500)),
    (("small-step7", "", "/runs/other/checkpoint-500"), ("small", 7)),
    (("a", "step0001000"), ("a", 1000)),
    (("a", f"step{LAST_STEP}"), ("a", LAST_STEP)),
    (("a", "Step12"), ("a", 12)),
]
NOT_SAID = [
    ("a", "main"), ("a", ""), ("a", "step"), ("a", "steps1000"), ("a", "footstep3"), ("a", "step1000b"), ("a", "step1.5"),
    ("a", "step1-step2"), ("a", f"step{LAST_STEP + 1}"), ("a", "step" + "9" * 5000), ("a", "step-"), ("a", "step\u0661"),
    ("step5", ""), ("a", "3fc1e5e5d2b1"), ("doorstep", "v1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "place"), SAID)
def test_a_step_and_its_training_are_read_off(said: tuple[str, ...], place: tuple[str, int]) -> None:
    assert place_of(*said) == Place(*place)


@pytest.mark.parametrize("said", NOT_SAID)
def test_what_says_no_step_or_several_is_unknown(said: tuple[str, ...]) -> None:
    assert place_of(*said) is None


@given(st.text(), st.text(), st.text())
def test_any_names_have_a_place_that_the_database_can_hold_or_none(name: str, revision: str, folder: str) -> None:
    place = place_of(name, revision, folder)
    assert place is None or 0 <= place.step <= LAST_STEP


WORDS = st.from_regex(r"[a-z]{1,4}[0-9]{0,2}", fullmatch=True).filter(lambda word: not word.startswith(("step", "token")))


@given(
    st.sampled_from(["step", "global_step", "checkpoint-", "step_", "step-"]), st.integers(0, LAST_STEP),
    st.lists(WORDS, max_size=2), st.lists(WORDS, max_size=2), st.sampled_from("-_."),
)  # fmt: skip
def test_steps_of_one_training_differ_in_the_step_alone(
    word: str, step: int, before: list[str], after: list[str], between: str
) -> None:
    """The training is the same for every step, and another one where anything else differs."""
    revisions = [between.join([*before, f"{word}{number}", *after]) for number in (step, 3)]
    places = [place_of("model", revision) for revision in revisions]
    assert [place.step for place in places if place is not None] == [step, 3]
    rest = between.join([*before, *after])
    assert {place.training for place in places if place is not None} == {f"model@{rest}" if rest else "model"}
