"""The page of findings, on the small published family: every family has its place, and no text breaks the Markdown."""

import re

import pytest

import catalog
from bench.evidence import named, plain
from bench.findings import page
from catalog.errors import NotFoundError
from catalog.evidence import in_words
from catalog.text import escape
from tests.commands import family_copy, use_published_family
from tests.published import MODELS

settings = use_published_family
copied = family_copy

FOUND = ("alphabet", "previous_token", "token_class", "unigram")
ABSENT = (
    "anti_entropy", "antipodal", "attn_activation", "attn_deactivation", "bos", "context", "dead", "duplicate", "entropy",
    "near_dead", "ngram_detector", "partition", "position", "prediction", "suppression", "syntax", "token_detector",
    "unexplained",
)  # fmt: skip


@pytest.fixture
def sections(settings: pytest.MonkeyPatch) -> dict[str, str]:
    """The page by its headings."""
    return made()


def made() -> dict[str, str]:
    with catalog.connect() as store, store.engine.connect() as connection:
        parts = re.split(r"^#+ (.*)$", page(connection), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_family_has_a_section_and_the_counts_are_those_of_the_labels(sections: dict[str, str]) -> None:
    headings = list(sections)
    assert headings[:2] == ["What the pocket models hold", "How many"]
    assert tuple(headings[2 : headings.index("Not found")]) == FOUND
    assert tuple(headings[headings.index("Not found") + 1 :]) == ABSENT
    counts = sections["How many"]
    assert f"| {MODELS[0]} | 1 | 16 (2) | 1 (1) | 1 (1) | 0 (0) | 1 (1) |\n" in counts
    assert ", ".join(f"`{name}`" for name in ABSENT) in counts
    assert "Neurons: 3, 3 of them universal, in 3 of 3 models. Subtypes: s 3." in sections["alphabet"]


def test_a_family_that_is_found_shows_rule_command_evidence_and_places(sections: dict[str, str]) -> None:
    shown = sections["alphabet"]
    assert "- `min_variance_reduction` = 0.37: Least variance reduction of the best letter" in shown
    assert "catalog find --family alphabet --limit 5" in shown and "WHERE family = 'alphabet'" in shown
    assert "the letter explains 80 % of the variance; mean 3 on the letter, 2 on words that begin with it |\n" in shown
    (places, *_) = shown.split(f"{MODELS[0]} 1.10, s:")[1:]
    lines = places.strip().splitlines()[:3]
    assert lines[1] == r"- highest, 1.5, code: …\<bos\> **語** Sa\\\\b⏎s s…"
    assert [line.split(":")[0] for line in lines] == [
        "- highest, 2.5, prose", "- highest, 1.5, code", "- quantile 25–50 %, 0.75, prose",
    ]  # fmt: skip
    assert r"contains\_comma of the previous token explains 40 % of the variance" in sections["previous_token"]


def test_a_family_that_is_not_found_says_whether_it_was_looked_for_and_what_came_closest(sections: dict[str, str]) -> None:
    assert "**Not looked for** in run 1, which has no part `syntax`." in sections["syntax"]
    assert "The closest:\n\n| model | layer | neuron | mutual_information |" in sections["position"]
    assert f"| {MODELS[0]} | 1 | 15 | 0.01 | `other` | `weak` | 2,000 |" in sections["position"]
    assert "**Looked for, and no neuron passes.**" in sections["token_detector"]
    assert f"| {MODELS[0]} | 1 | 10 | 10 | 2,000 | 0.99 |" in sections["token_detector"]
    assert "**Looked for, and no neuron passes.**" in sections["dead"] and "0.1" in sections["dead"]


def test_an_empty_catalog_has_no_page(database_url: str) -> None:
    with catalog.connect(database_url) as store, store.engine.connect() as connection:
        with pytest.raises(NotFoundError, match="no published run yet"):
            page(connection)


def test_a_family_that_the_page_does_not_know_is_shown_all_the_same(family_copy: str) -> None:
    with catalog.connect() as store, store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE labels SET family = 'new', evidence = '{\"a_b\": 1.5}' WHERE family = 'unigram'")
        connection.exec_driver_sql("UPDATE label_totals SET family = 'new' WHERE family = 'unigram'")
    sections = made()
    assert r"a\_b 1.5" in sections["new"] and "What it is is said by its rule alone." in sections["new"]
    assert "**Looked for, and no neuron passes.**" in sections["unigram"] and "| 0.8 | 1 |" in sections["unigram"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a|b `c` *d* _e_", r"a\|b␣\`c\`␣\*d\*␣\_e\_"),
        (b"<b>&amp;[x](y)", r"\<b\>\&amp;\[x\](y)"),
        (b"\n\r\t\x00\x1b", r"⏎␍⇥\\x00\\x1b"),
        (b"\xc3", r"\\xc3"),
    ],
)
def test_text_is_on_one_line_and_shown_as_it_is(raw: bytes, expected: str) -> None:
    assert plain(escape(raw)) == expected


def test_evidence_of_every_rule_is_in_words() -> None:
    position = {"mutual_information": 0.2, "strength": "strong", "alternations": 2, "coverage": 0.9, "runs": [[1, 16, "high"]]}
    assert in_words("position", position) == (
        "0.2 nats about the position; strong, 2 alternations, at an extreme on 90 % of the positions: high 1–16"
    )
    bos = {"bos_activation": 3.0, "ratio": 6.0, "post_p99_9": 0.5}
    assert in_words("bos", bos).startswith("3 on BOS, 6 times")
    detector = {"n": 3, "cover": 4, "activations": 90, "detected": 2, "mean_effect": -0.5, "suppressing": True}
    assert "4 trigrams cover 95 % of its 90 activations; 2 nearly always" in in_words("ngram_detector", detector)
    assert "it suppresses them, by -0.5 logits" in in_words("ngram_detector", detector)
    rare = {"activations": 0.0, "n_tokens": 1000, "upper_bound": 0.003, "enough_tokens": 2e7}
    assert in_words("dead", rare).startswith("active on none of 1,000 tokens, so that its frequency is at most 0.003")
    once = in_words("near_dead", {**rare, "activations": 1.0})
    assert once == "active on 1 of 1,000 tokens; provisional below 20,000,000 tokens"
    assert in_words("gone", {"subset": "code", "n_tokens": 9, "nothing": None}) == "subset code, n_tokens 9"
    unexplained = {"variance_reduction": None, "excess_corr": 0.6, "evaluated": ["position", "bos"]}
    assert in_words("unexplained", unexplained).endswith("was looked for: position, bos")


def test_names_are_code_unless_they_may_hold_anything() -> None:
    assert named("pos_det") == "`pos_det`" and named("|") == r"\|"
