"""Every command that reads, against a real database that holds a small published family."""

import csv
import io
import json
import os

import psycopg
import pytest

from tests.commands import family_copy, run_catalog, use_published_family
from tests.published_rows import MODELS

settings = use_published_family

catalog = run_catalog

copied = family_copy


READING = [
    ["find"],
    ["find", "--family", "alphabet"],
    ["universal"],
    ["families"],
    ["families", "--by", "model"],
    ["matches", MODELS[0], "1.10"],
    ["groups"],
    ["layers"],
    ["depth"],
    ["models"],
    ["runs", "list"],
    ["rules", "list"],
    ["sql", "SELECT model, count(*) AS n FROM neuron_profiles GROUP BY model ORDER BY model"],
]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_rows_in_every_format(catalog, arguments):
    answers = {format: catalog(*arguments, "--format", format) for format in ("table", "json", "jsonl", "csv")}
    assert {answer.code for answer in answers.values()} == {0}
    rows = answers["json"].rows
    assert rows
    assert [json.loads(line) for line in answers["jsonl"].out.splitlines()] == rows
    assert len(list(csv.DictReader(io.StringIO(answers["csv"].out)))) == len(rows)
    table = answers["table"].out.splitlines()
    assert len(table) == len(rows) + 2
    joined = {f"{name}_se" for name in rows[0]} if arguments[0] != "sql" else set()
    assert table[0].split() == [name for name in rows[0] if name not in joined]
    talk = answers["json"].err
    chance = ", no control" if "--family" in arguments else ""
    assert talk == (f"{len(rows)} of {len(rows)} labels{chance}\n" if arguments[0] == "find" else "")


def test_find_gives_one_row_per_label(catalog):
    rows = catalog("find", "--format", "json").rows
    assert list(rows[0]) == ["model", "layer", "neuron", "family", "subtype", "score", "excess_corr", "universal"]
    assert [(row["family"], row["subtype"]) for row in rows if row["model"] == MODELS[0]] == [
        ("alphabet", "s"),
        ("previous_token", "contains_comma"),
        ("token_class", "is_digit"),
        ("unigram", "s"),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--family", "alphabet", "--subtype", "s"], 3),
        (["--family", "alphabet", "--subtype", "q"], 0),
        (["--model", MODELS[1]], 4),
        (["--layer", "0"], 3),
        (["--layer", "0-1"], 12),
        (["--layer", "7-9"], 0),
        (["--min-score", "0.5"], 9),
        (["--min-excess", "0.9"], 0),
        (["--universal", "yes"], 12),
        (["--run", "1"], 12),
        (["--limit", "5"], 5),
        (["--limit", "0"], 12),
        (["--limit", "5", "--offset", "10"], 2),
        (["--sort", "neuron"], 12),
    ],
    ids=str,
)
def test_find_filters(catalog, options, expected):
    answer = catalog("find", *options, "--format", "jsonl")
    assert (answer.code, len(answer.out.splitlines())) == (0, expected)
    total = 12 if "--limit" in options else expected
    assert not expected or answer.err.startswith(f"{expected} of {total} labels")
    assert answer.err.count("\n") == 1


def test_an_empty_answer_is_no_error(catalog):
    answer = catalog("find", "--family", "alphabet", "--subtype", "q")
    assert answer == (0, "", "no label of the family alphabet has the subtype 'q'; there are s\n")


def test_environment_twins_reach_the_query(catalog, settings):
    settings.setenv("CATALOG_FIND_FAMILY", "token_class")
    settings.setenv("CATALOG_FIND_FORMAT", "json")
    assert [row["family"] for row in catalog("find").rows] == ["token_class"] * 3


def test_find_and_sql_agree(catalog):
    found = catalog("find", "--family", "alphabet", "--format", "json").rows
    by_sql = catalog(
        "sql",
        """SELECT l.model, l.layer, l.neuron, l.family, l.subtype, l.score, p.excess_corr, p.universal
           FROM neuron_labels l JOIN neuron_profiles p USING (run_id, model, layer, neuron)
           WHERE l.family = 'alphabet' ORDER BY l.score DESC, l.model, l.layer, l.neuron""",
        "--format",
        "json",
    ).rows
    assert found == by_sql


def test_sql_says_that_there_are_no_rows(catalog):
    answer = catalog("sql", "SELECT name FROM models WHERE name = 'nobody'", "--format", "csv")
    assert (answer.code, answer.out, answer.err) == (0, "name\n", "the statement has no rows\n")


def test_show_has_every_section_and_visible_tokens(catalog):
    text = catalog("show", MODELS[0], "1.10").out
    for title in (
        "Labels",
        "Statistics",
        "Best match in each other model",
        "Tokens with",
        "Explanations",
        "Best letter",
        "Quantiles",
        "Activation on BOS",
        "Activity by position",
        "Subsets of the corpus",
        "How few tokens",
    ):
        assert f"\n{title}" in text
    assert "␣s" in text and "⏎" in text and "\0" not in text
    page = json.loads(catalog("show", MODELS[0], "1.10", "--format", "json").out)
    assert page["identity"] | {"model": MODELS[0], "layer": 1, "neuron": 10, "universal": "yes"} == page["identity"]
    assert [match["other_model"] for match in page["best_matches"]] == list(MODELS[1:])
    assert [label["family"] for label in page["labels"]] == ["alphabet", "unigram"]
    assert page["top_tokens"][0]["token"] == " s"
    assert page["labels"][0]["evidence"]["threshold"] == 0.37
    assert {"statistic", "value", "value_se", "percentile"} == set(page["statistics"][0])
    errors = {row["statistic"]: (row["value"], row["value_se"]) for row in page["statistics"]}
    assert errors["sparsity"][1] == pytest.approx(errors["sparsity"][0] / 20) and errors["w_in_norm"][1] is None
    (shown,) = (line.split() for line in text.splitlines() if line.startswith("sparsity "))
    assert shown[1:4] == ["0.85", "±", "0.04"]
    assert len(page["promoted"]) == len(page["suppressed"]) == 5
    table = list(csv.DictReader(io.StringIO(catalog("show", MODELS[0], "1.10", "--format", "csv").out)))
    assert {row["section"] for row in table} == {name for name, content in page.items() if content}
    empty = {name for name, content in page.items() if not content}
    assert empty == {
        "directions", "logit_explanations", "heads", "interventions", "similar", "substitutions", "confidence", "gates",
    }  # fmt: skip


def test_show_draws_how_activity_depends_on_the_position(catalog, copied, settings):
    with psycopg.connect(os.environ["CATALOG_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE position_statistics SET curve = %s, runs = '[[1, 2, \"low\"]]'", [[1.0, 0.0, 0.25, 0.5]])
    section = catalog("show", MODELS[0], "1.10").out.split("\nActivity by position\n")[1].split("\n\n")[0]
    assert section.splitlines()[0].split() == [
        "mutual_information", "pattern", "strength", "alternations", "coverage", "predictability", "frequency",
    ]  # fmt: skip
    assert section.endswith("▁▅█ 0–0.5") and "low" not in section
    assert section.splitlines()[2].strip().startswith("0.0085 ± 0.0009  ")
    (stored,) = json.loads(catalog("show", MODELS[0], "1.10", "--format", "json").out)["position"]
    assert stored["curve"] == [1.0, 0.0, 0.25, 0.5] and stored["runs"] is None, "no label, no runs"
    with psycopg.connect(os.environ["CATALOG_DATABASE_URL"], autocommit=True) as connection:
        names = ("mutual_information", "mutual_information_se", "pattern", "strength", "alternations", "curve", "coverage")
        connection.execute(f"UPDATE position_statistics SET {', '.join(f'{name} = NULL' for name in names)}")
    assert "Activity by position" not in catalog("show", MODELS[0], "1.10").out


def test_show_marks_the_token_of_an_example(catalog):
    plain = catalog("show", MODELS[0], "1.10").out.split("\nExamples")[1]
    lines = plain.splitlines()
    assert lines[1] == "top" and lines[5] == "quantile_25_50" and len(lines) == 7
    values = [line.split()[0] for line in lines[2:5] + lines[6:]]
    assert values == ["2.5000", "1.5000", "-0.1250", "0.7500"]
    assert lines[3].startswith(" 1.5000  code   <bos>⟦語⟧ S")
    assert "⏎" in plain and "\\x00" in plain and "\0" not in plain
    assert len(catalog("show", MODELS[0], "1.10", "--examples", "1").out.split("\nExamples")[1].splitlines()) == 5
    assert "Examples" not in catalog("show", MODELS[0], "1.10", "--examples", "0").out
    page = json.loads(catalog("show", MODELS[0], "1.10", "--examples", "1", "--format", "json").out)
    assert [(row["kind"], row["value"]) for row in page["examples"]] == [("top", 2.5), ("quantile_25_50", 0.75)]
    page = json.loads(catalog("show", MODELS[0], "1.10", "--format", "json").out)
    assert [(row["kind"], row["rank"], row["value"]) for row in page["examples"]] == [
        ("top", 1, 2.5), ("top", 2, 1.5), ("top", 3, -0.125), ("quantile_25_50", 1, 0.75),
    ]  # fmt: skip
    assert page["examples"][1]["before"] == "<bos>" and page["examples"][1]["subset"] == "code"


def test_a_terminal_shades_the_token_by_its_value(capsys, monkeypatch):
    from cli.excerpts import Excerpt, show_excerpts

    excerpts = [Excerpt("top", value, "", "before ", "token", " after") for value in (2.0, 1.0, -1.0)]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in (("TERM", "xterm-256color"), ("COLORTERM", "truecolor")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    show_excerpts("Examples", excerpts)
    strong, half, none = [line for line in capsys.readouterr().out.splitlines() if "token" in line]
    assert "48;2;255;140;0m" in strong and "48;2;255;197;127m" in half and "48;2;255;255;255m" in none
    assert "⟦" not in strong and "before \x1b[" in strong and strong.endswith("\x1b[0m after")
    monkeypatch.setenv("NO_COLOR", "1")
    show_excerpts("Examples", excerpts)
    assert "48;" not in capsys.readouterr().out


def test_a_dead_neuron_has_a_page_without_undefined_numbers(catalog):
    page = json.loads(catalog("show", MODELS[0], "0.0", "--format", "json").out)
    assert page["identity"]["degenerate"] is True and page["best_matches"] == []
    values = {row["statistic"]: row["value"] for row in page["statistics"]}
    assert values["skew"] is None and values["excess_corr"] is None
    assert "nan" not in catalog("show", MODELS[0], "0.0").out.lower()


def test_index_10_is_not_index_1(catalog):
    neurons = [catalog("show", MODELS[0], text, "--format", "json").rows["identity"]["neuron"] for text in ("1.1", "1.10")]
    assert neurons == [1, 10]


def test_matches_of_one_model(catalog):
    rows = catalog("matches", MODELS[0], "1.10", "--other-model", MODELS[2], "--limit", "1", "--format", "json").rows
    assert [(row["other_model"], row["other_layer"], row["other_neuron"]) for row in rows] == [(MODELS[2], 1, 10)]


def test_report_has_its_four_sections(catalog):
    answer = catalog("report")
    assert (answer.code, answer.err) == (0, "")
    headings = [
        line for line, rule in zip(answer.out.splitlines(), answer.out.splitlines()[1:], strict=False) if rule[:2] == "=="
    ]
    assert [heading.split()[0] for heading in headings] == ["Universal", "The", "Neurons", "catalog"]
    most = answer.out.split(headings[1])[1].split(headings[2])[0]
    assert f"{MODELS[0]} 1.10" in most and f"{MODELS[1]} 1.10 (0.90), {MODELS[2]} 1.10 (0.90)" in most
    assert len([line for line in most.splitlines() if line.startswith("pocket")]) == 3
    assert answer.out.split(headings[3])[1].count("alphabet") == 3


def test_show_one_run(catalog):
    run = json.loads(catalog("runs", "show", "1", "--format", "json").out)["identity"]
    assert (run["run"], run["status"], run["device"]) == (1, "published", "cpu")
    assert run["models"] == ", ".join(MODELS)
    assert "published" in catalog("runs", "show", "1").out


def test_doctor_is_content(catalog):
    answer = catalog("doctor", "--format", "json")
    assert [(row["check"], row["status"]) for row in answer.rows if row["status"] != "ok"] == []
    assert [row["check"] for row in answer.rows] == [
        "python", "packages", "disk", "database", "server", "pgvector", "schema", "reader role", "device",
    ]  # fmt: skip
    assert (answer.code, answer.err) == (0, "all is well\n")
