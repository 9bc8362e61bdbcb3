"""A plan has the phases that the ingest goes through, each with a time above 0, whatever parts are asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from catalog import parts as all_parts
from ingest.pipeline.main_path import ingest
from ingest.preview import sum_rates
from ingest.preview.overview import preview
from ingest.progress import Silent, Stopwatch
from ingest.settings import IngestSettings
from tests import factories
from tests.acceptance.ingests import small_corpus
from tests.conftest import database

PARTS = all_parts.names()
NEEDED = {"substitution": ("correlations",)}
"""Parts without which a part cannot be asked for."""
ALONE = [(*NEEDED.get(part, ()), part) for part in PARTS]

NUMBERS = {"context": 24, "intervention_tokens": 240, "ablation_pairs": 1, "substitution_tokens": 240, "device": "cpu"}
NEW_HOME = "writing was not tried, for there is no database that can be reached; `catalog db upgrade` makes one"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of two architectures and two shapes, with one tokenizer."""
    folder, tokenizer = tmp_path_factory.mktemp("models"), factories.byte_bpe_tokenizer()
    return [
        factories.tiny_gpt2(folder / "serial", 0, tokenizer, n_layers=3),
        factories.tiny_neox(folder / "parallel", 1, tokenizer, n_layers=2),
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"), 20)


@pytest.fixture(scope="module")
def url(server: URL, template: str) -> Iterator[str]:
    with database(server, template) as made:
        yield made


@pytest.fixture(autouse=True)
def short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """That seconds are above 0 is asked here, not how sure they are."""
    monkeypatch.setattr(sum_rates, "PROBE_SECONDS", 0.01)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows and syntax that nobody keeps."""
    for module in ("ingest.inputs", "ingest.corpus.syntax.cache"):
        monkeypatch.setattr(f"{module}.home", lambda: tmp_path)


def planned(settings: IngestSettings) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for phase in preview(settings, Silent()).phases:
        found.setdefault(phase.phase, []).append(phase.seconds)
    return found


@pytest.mark.parametrize(
    "parts", [*ALONE, PARTS], ids=lambda parts: ",".join(parts) if len(parts) < 3 else "all"
)
def test_every_phase_of_the_ingest_is_planned(
    url: str, models: list[Path], corpus: Path, parts: tuple[str, ...], fresh: None
) -> None:
    settings = IngestSettings(
        models=tuple(map(str, models)),
        corpus=None if {*parts} <= {*all_parts.of_weights()} else str(corpus),
        only=parts,
        again=True,
        database_url=url,
        **NUMBERS,
    )
    plan = planned(settings)
    for phase, seconds in plan.items():
        assert all(each is not None and each > 0 for each in seconds), (phase, seconds)
    watch = Stopwatch()
    ingest(settings, watch)
    watch.end()
    told = [phase for phase in watch.seconds if phase != "accumulate" or phase in plan]
    assert list(plan) == told
    assert ("accumulate" in watch.seconds) or ("accumulate" not in plan)


def test_a_number_of_tokens_is_enough(url: str, models: list[Path], tmp_path: Path) -> None:
    plan = planned(IngestSettings(tuple(map(str, models)), max_tokens=960, database_url=url, **NUMBERS))
    assert "tokenise" in plan and "accumulate" in plan
    assert all(each is not None and each > 0 for seconds in plan.values() for each in seconds), plan


def test_more_tokens_take_longer_and_more_models_as_well(url: str, models: list[Path]) -> None:
    def seconds(n_models: int, tokens: int, only: tuple[str, ...]) -> float:
        found = IngestSettings(tuple(map(str, models[:n_models])), max_tokens=tokens, only=only, database_url=url, **NUMBERS)
        return sum(sum(each or 0.0 for each in plan) for plan in planned(found).values())

    assert seconds(2, 100_000_000, ("positions",)) > 100 * seconds(2, 24, ("positions",))
    assert seconds(2, 100_000_000, ("examples", "ngrams")) > seconds(1, 10_000_000, ("examples", "ngrams"))


def test_what_cannot_be_tried_is_unknown(models: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a database nothing is known of writing, without a pipeline nothing of syntax."""
    monkeypatch.setenv("CATALOG_HOME", str(tmp_path / "new"))
    settings = IngestSettings(
        tuple(map(str, models)), max_tokens=240, only=("activations", "syntax"), spacy_model="absent", **NUMBERS
    )
    monkeypatch.delenv("CATALOG_DATABASE_URL", raising=False)
    found = preview(settings, Silent())
    unknown = {phase.phase for phase in found.phases if phase.seconds is None}
    assert unknown == {"annotate syntax", "stage", "index", "publish"}
    assert NEW_HOME in found.told and any("spaCy pipeline is not installed" in sentence for sentence in found.told)
    assert not (tmp_path / "new" / "postgres").exists()


def test_without_a_tokenizer_only_what_was_measured_has_a_time(url: str, models: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((models[0] / "config.json").read_bytes())
    settings = IngestSettings((str(bare),), max_tokens=240, only=("activations", "positions"), database_url=url, **NUMBERS)
    found = preview(settings, Silent())
    known = {phase.job.job.kind if phase.job else phase.phase for phase in found.phases if phase.seconds is not None}
    assert known == {"pivots", "stage", "merge", "index", "publish"}
    assert any("tokenizer is not at hand" in sentence for sentence in found.told)
