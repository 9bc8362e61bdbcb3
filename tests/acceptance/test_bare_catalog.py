"""Every read command on the catalogs of a beginner: a corpus without subsets, no syntax, one model, one layer."""

import json
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import URL

from cli.main import main
from tests import factories
from tests.acceptance.ingests import BUT_SYNTAX, OF_ONE, run_ingest
from tests.conftest import database

CATALOGS = {
    "one model of one layer": ("a", 1, OF_ONE),
    "weights alone": ("a", 2, ("weights",)),
    "two models": ("ab", 2, BUT_SYNTAX),
}
"""Names of models, their layers, and the parts that are computed; no corpus has subsets."""

READING = [
    ["find"],
    ["find", "--family", "alphabet"],
    ["universal"],
    ["families"],
    ["families", "--by", "model"],
    ["matches", "tiny-a", "0.1"],
    ["groups"],
    ["layers"],
    ["depth"],
    ["models"],
    ["runs", "list"],
    ["rules", "list"],
    ["show", "tiny-a", "0.1", "--examples", "1"],
    ["show", "tiny-a", "0.1"],
    ["sql", "SELECT * FROM neuron_profiles"],
    ["sql", "SELECT * FROM neuron_examples WHERE neuron < 4"],
]


@pytest.fixture(scope="module", params=list(CATALOGS))
def url(request: pytest.FixtureRequest, server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    names, n_layers, parts = CATALOGS[request.param]
    folder = tmp_path_factory.mktemp("bare")
    tokenizer = factories.byte_bpe_tokenizer()
    models = [factories.tiny_gpt2(folder / f"tiny-{name}", seed, tokenizer, n_layers) for seed, name in enumerate(names)]
    corpus = None if parts == ("weights",) else factories.write_jsonl(folder / "texts.jsonl", factories.random_texts())
    with database(server, template) as made:
        run_ingest(made, models, corpus, only=parts)
        yield made


@pytest.fixture
def answer(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("CATALOG_DATABASE_URL", url)

    def ask(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(exit.value.code or 0), captured.out, captured.err

    return ask


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_every_question_is_answered_in_every_format(
    arguments: list[str], answer: Callable[..., tuple[int, str, str]]
) -> None:
    for format in ("table", "json", "jsonl", "csv"):
        code, out, err = answer(*arguments, "--format", format)
        assert (code, "Traceback" in err) == (0, False), err
        assert "NaN" not in out and "nan" not in out.split()
        if format == "json":
            json.loads(out)


def test_the_report_the_findings_and_the_run_are_shown(answer: Callable[..., tuple[int, str, str]]) -> None:
    for arguments in (["report"], ["findings"], ["findings", "--format", "json"], ["runs", "show", "1"]):
        code, out, err = answer(*arguments)
        assert (code, bool(out)) == (0, True), err


def test_undefined_values_of_a_page_are_null_in_json(answer: Callable[..., tuple[int, str, str]], url: str) -> None:
    page = json.loads(answer("show", "tiny-a", "0.1", "--format", "json")[1])
    assert all(example["subset"] is None for example in page["examples"])
    assert {"labels", "statistics", "examples"} <= set(page)
