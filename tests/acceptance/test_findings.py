"""`catalog findings`, on the small published family: every family has its place, and no text breaks the Markdown."""

import json
import re
from collections.abc import Callable

import pytest

import catalog as library
from catalog.questions.evidence import in_words
from catalog.questions.findings import FindingsFilter
from catalog.text import escape
from cli.findings import page
from cli.markdown import named, plain
from tests.commands import Answer, family_copy, run_catalog, use_published_family
from tests.published_rows import MODELS

settings = use_published_family
catalog = run_catalog
copied = family_copy

FOUND = ("alphabet", "previous_token", "token_class", "unigram")
ABSENT = (
    "anti_entropy", "antipodal", "attn_activation", "attn_deactivation", "bos", "context", "context_off", "dead", "duplicate",
    "entropy", "io_class", "near_dead", "ngram_detector", "partition", "position", "prediction", "suppression", "syntax",
    "token_detector", "token_frequency", "unexplained",
)  # fmt: skip

Asked = Callable[..., Answer]


def sections_of(answer: Answer) -> dict[str, str]:
    """The page by its headings."""
    assert answer.code == 0, answer.err
    parts = re.split(r"^#+ (.*)$", answer.out, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def sections(catalog: Asked) -> dict[str, str]:
    return sections_of(catalog("findings"))


def test_every_family_has_a_section_and_the_counts_are_those_of_the_labels(sections: dict[str, str]) -> None:
    headings = list(sections)
    assert headings[:3] == ["What the models hold", "In short", "How many"]
    assert tuple(headings[3 : headings.index("Not found")]) == FOUND
    assert tuple(headings[headings.index("Not found") + 1 :]) == ABSENT
    counts = sections["How many"]
    assert f"| {MODELS[0]} | 1 | 16 (2 + 0) | 1 (1 + 0) | 1 (1 + 0) | 0 (0 + 0) | 1 (1 + 0) |\n" in counts
    short = [line.split("`")[1] for line in sections["In short"].splitlines() if line.startswith("- ")]
    assert short == [*FOUND, *ABSENT]
    assert "- `alphabet`: 3 (3.1 %), most in layer 1 of" in sections["In short"]
    assert "- `syntax`: not looked for. " in sections["In short"] and "- `dead`: none. " in sections["In short"]
    assert "Neurons: 3, 3 of them universal and 0 undecided, in 3 of 3 models. Subtypes: s 3." in sections["alphabet"]
    assert f"from run 1 of {', '.join(MODELS)} on 12,800 tokens of small (12,000 of them kept)" in sections[headings[0]]


def test_a_family_that_is_found_shows_rule_command_evidence_and_places(sections: dict[str, str]) -> None:
    shown = sections["alphabet"]
    assert "- `min_variance_reduction` = 0.37: Least variance reduction of the best letter" in shown
    assert "catalog find --family alphabet --limit 5" in shown and "WHERE family = 'alphabet'" in shown
    assert "the letter explains 80 % of the variance in documents that did not choose it; mean 3 on the letter, 2 on" in shown
    (places, *_) = shown.split(f"{MODELS[0]} 1.10, s:")[1:]
    lines = places.strip().splitlines()[:3]
    assert lines[1] == r"- highest, 1.5, code: …\<bos\> **語** Sa\\\\b⏎s s…"
    assert [line.split(":")[0] for line in lines] == [
        "- highest, 2.5, prose", "- highest, 1.5, code", "- quantile 25–50 %, 0.75, prose",
    ]  # fmt: skip
    assert r"contains\_comma of the previous token explains 40 % of the variance" in sections["previous_token"]


def test_a_family_that_is_not_found_says_whether_it_was_looked_for_and_what_came_closest(sections: dict[str, str]) -> None:
    never = "never measured: run 1 has no labels of the family syntax; repeat its `catalog ingest` with --only syntax."
    assert f"**Not looked for**: {never}" in sections["syntax"]
    assert "The closest:\n\n| model | layer | neuron | mutual_information |" in sections["position"]
    assert f"| {MODELS[0]} | 1 | 15 | 0.0100 ± 0.0010 | `other` | `weak` | 2,000 |" in sections["position"]
    assert "**Looked for, and no neuron passes.**" in sections["token_detector"]
    assert f"| {MODELS[0]} | 1 | 10 | 10 | 2,000 | 0.99 |" in sections["token_detector"]
    assert "**Looked for, and no neuron passes.**" in sections["dead"] and "0.1" in sections["dead"]


def test_what_no_run_can_measure_is_told(catalog: Asked, family_copy: str) -> None:
    with library.connect() as store, store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE position_statistics SET mutual_information = NULL")
    shown = sections_of(catalog("findings", "--family", "position"))["position"]
    assert "**Looked for, and nothing to measure**: no run has the 1,000 rows that it takes to tell (SPEC 12.8)." in shown


def test_an_empty_catalog_has_no_page(catalog: Asked, settings: pytest.MonkeyPatch, database_url: str) -> None:
    settings.setenv("CATALOG_DATABASE_URL", database_url)
    why = "the catalog has no published run yet; `catalog ingest` or `make demo` makes one\n"
    assert catalog("findings") == (0, "", why)
    answer = catalog("findings", "--format", "json")
    assert (answer.rows, answer.err) == ({"runs": [], "layers": [], "families": []}, why)


def test_a_family_that_the_page_does_not_know_is_shown_all_the_same(catalog: Asked, family_copy: str) -> None:
    with library.connect() as store, store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE labels SET family = 'new', evidence = '{\"a_b\": 1.5}' WHERE family = 'unigram'")
        connection.exec_driver_sql("CREATE TEMP TABLE moved AS SELECT * FROM label_totals WHERE family = 'unigram'")
        connection.exec_driver_sql("UPDATE moved SET family = 'new'")
        connection.exec_driver_sql("INSERT INTO label_totals SELECT * FROM moved")
        none = ", ".join(f"{name} = 0" for name in ("labels", "universal_labels", "neurons", "universal_neurons"))
        connection.exec_driver_sql(f"UPDATE label_totals SET {none} WHERE family = 'unigram'")
    sections = sections_of(catalog("findings"))
    assert r"a\_b 1.5" in sections["new"] and "What it is is said by its rule alone." in sections["new"]
    assert "**Looked for, and no neuron passes.**" in sections["unigram"] and "| 0.8 | 1 |" in sections["unigram"]


def test_one_family_of_one_model_in_one_run(catalog: Asked) -> None:
    words = ("findings", "--family", "alphabet", "--model", MODELS[1], "--run", "1", "--limit", "2")
    sections = sections_of(catalog(*words))
    assert list(sections) == [f"What {MODELS[1]} holds", "In short", "How many", "alphabet"]
    assert MODELS[0] not in sections["How many"]
    assert "Neurons: 1, 1 of them universal and 0 undecided, in 1 of 1 models" in sections["alphabet"]
    (command,) = re.findall(r"```sh\ncatalog (.*)\n```", sections["alphabet"])
    assert command == f"find --family alphabet --model {MODELS[1]} --run 1 --limit 2"
    (statement,) = re.findall(r"```sql\n(.*?);\n```", sections["alphabet"], re.DOTALL)
    same = [(row["model"], row["layer"], row["neuron"]) for row in catalog(*command.split(), "--format", "json").rows]
    by_sql = [(row["model"], row["layer"], row["neuron"]) for row in catalog("sql", statement, "--format", "json").rows]
    (family,) = catalog(*words, "--format", "json").rows["families"]
    assert [(row["model"], row["layer"], row["neuron"]) for row in family["best"]] == same == by_sql == [(MODELS[1], 1, 10)]


def test_the_page_and_its_json_say_the_same(catalog: Asked, sections: dict[str, str]) -> None:
    told = catalog("findings", "--format", "json").rows
    assert list(told) == ["runs", "layers", "families"] and [run["run"] for run in told["runs"]] == [1]
    families = {family["family"]: family for family in told["families"]}
    assert tuple(name for name, family in families.items() if family["counts"]) == FOUND
    assert sorted(families) == sorted((*FOUND, *ABSENT))
    assert {name for name, family in families.items() if not family["looked_for"]} == {
        name for name, text in sections.items() if "**Not looked for**" in text
    }
    for name in FOUND:
        assert families[name]["about"] in sections[name] and not families[name]["closest"]
        for label in families[name]["best"]:
            assert f"| {label['model']} {label['layer']}.{label['neuron']} |" in sections[name]
            assert plain(label["in_words"], spaces=False) in sections[name]
            assert [example["kind"] for example in label["examples"]] == ["top", "top", "quantile_25_50"]
    assert families["syntax"]["not_looked_for"].startswith("never measured: run 1 has no labels of the family syntax")
    json.dumps(told, allow_nan=False)


def test_limit_counts_neurons_of_each_family(catalog: Asked) -> None:
    families = catalog("findings", "--limit", "1", "--format", "json").rows["families"]
    assert {len(family["best"]) for family in families if family["counts"]} == {1}
    assert max(len(family["closest"]) for family in families) <= 2  # the best of all features stands beside the best of all
    assert catalog("findings", "--limit", "0").code == 2


def test_what_is_not_there_is_one_sentence(catalog: Asked) -> None:
    for words, said in (
        (("--family", "alphabt"), "there is no family 'alphabt'"),
        (("--model", "nobody"), "there is no model 'nobody'"),
        (("--run", "9"), "there is no published run 9"),
    ):
        answer = catalog("findings", *words)
        assert (answer.code, answer.out) == (1, "") and answer.err.startswith(f"error: {said}")


def test_a_family_without_labels_says_why_on_stderr_too(catalog: Asked) -> None:
    answer = catalog("findings", "--family", "syntax")
    assert answer.code == 0 and "### syntax" in answer.out
    assert answer.err.startswith("never measured: run 1 has no labels of the family syntax")
    assert catalog("findings").err == ""


def test_a_model_may_be_called_by_another_of_its_names(catalog: Asked, family_copy: str, settings: pytest.MonkeyPatch) -> None:
    with library.connect_rows() as store, store.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO model_aliases (name, model_id) SELECT 'second seed', id FROM models WHERE name = %s", (MODELS[1],)
        )
    shown = catalog("findings", "--family", "alphabet", "--model", "second seed").out
    assert f"model = '{MODELS[1]}'" in shown and f"--model {MODELS[1]} --limit 5" in shown and "second seed" not in shown


def test_names_are_quoted_for_the_shell_and_for_sql(family_copy: str) -> None:
    odd = "it's one"
    with library.connect_rows() as store:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE models SET name = %s WHERE name = %s", (odd, MODELS[1]))
        wanted = FindingsFilter(family="alphabet", model=odd)
        shown = page(store.findings(wanted), wanted)
    assert """--model 'it'"'"'s one' --limit 5""" in shown and "model = 'it''s one'" in shown


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
        "0.2 nats about the position, no control; strong, 2 alternations, at an extreme on 90 % of the positions: high 1–16"
    )
    measured = in_words("position", {**position, "mutual_information_se": 0.012})
    assert measured.startswith("0.200 ± 0.012 nats about the position, no control;")
    controlled = in_words("position", {**position, "largest_of_controls": 0.04})
    assert controlled.startswith("0.2 nats about the position, 0.04 at most in the control;")
    bos = {"bos_activation": 3.0, "ratio": 6.0, "post_p99_9": 0.5}
    assert in_words("bos", bos).startswith("3 on BOS, 6 times")
    detector = {"n": 3, "cover": 4, "activations": 90, "detected": 2, "mean_effect": -0.5, "suppressing": True}
    assert "4 trigrams cover 95 % of its 90 activations; 2 nearly always" in in_words("ngram_detector", detector)
    assert "it suppresses them, by -0.5 logits" in in_words("ngram_detector", detector)
    rare = {"activations": 0.0, "n_tokens": 1000, "upper_bound": 0.003, "enough_tokens": 2e7}
    assert in_words("dead", rare).startswith("active on none of 1,000 tokens, so that its frequency is at most 0.003")
    known = {**rare, "n_documents": 40, "upper_bound_documents": 0.075}
    assert "0.003 (3/n), and it is active in at most 7.5 % of documents (3/n of 40); provisional" in in_words("dead", known)
    once = in_words("near_dead", {**rare, "activations": 1.0})
    assert once == "active on 1 of 1,000 tokens; provisional below 20,000,000 tokens"
    assert in_words("gone", {"subset": "code", "n_tokens": 9, "nothing": None}) == "subset code, n_tokens 9"
    unexplained = {"variance_reduction": None, "excess_corr": 0.6, "evaluated": ["position", "bos"]}
    assert in_words("unexplained", unexplained).endswith("was looked for: position, bos")


def test_names_are_code_unless_they_may_hold_anything() -> None:
    assert named("pos_det") == "`pos_det`" and named("|") == r"\|"
