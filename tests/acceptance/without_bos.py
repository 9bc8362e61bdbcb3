"""Two models whose tokenizer has no BOS, published with every part but syntax, for tests of what follows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from sqlalchemy import URL
from transformers import AutoTokenizer, GPT2LMHeadModel

from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.settings import IngestSettings
from tests import factories
from tests.acceptance.ingests import BUT_SYNTAX, rows
from tests.candidates import make_candidate
from tests.conftest import database
from tests.tokenizer_factories import qwen_tokenizer

CONTEXT = 16
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
REASON = "the tokenizer has no BOS"


class Told(Silent):
    """What a person is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, text: str) -> None:
        self.sentences.append(text)

    @property
    def of_bos(self) -> list[str]:
        return [sentence for sentence in self.sentences if "BOS" in sentence]


class Published(NamedTuple):
    url: str
    models: list[Path]
    corpus: Path
    told: list[str]


def asked(models: list[Path], corpus: Path | None, **more: Any) -> IngestSettings:
    usual: dict[str, Any] = {
        "only": BUT_SYNTAX, "context": CONTEXT, "controls": 0, "intervention_tokens": 1000, "ablation_pairs": 2,
        "substitution_tokens": 1000, "substitution_neurons": 4,
    }  # fmt: skip
    named = tuple(map(str, models))
    return IngestSettings(models=named, corpus=None if corpus is None else str(corpus), **usual | more)


def texts_with_special(n: int) -> list[str]:
    """Documents that write special tokens out, in front and within words."""
    special = [*SPECIAL, "<s>"]
    return [
        f"{special[i % 4]}{text[:30]}{special[(i + 1) % 4]}{text[30:]}" for i, text in enumerate(factories.random_texts(n))
    ]


def copy_with_noise(source: Path, folder: Path) -> None:
    """A model with nearly the same neurons, which are universal."""
    model = GPT2LMHeadModel.from_pretrained(source)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * torch.randn(parameter.shape, generator=generator))
    factories.save_checkpoint(model, AutoTokenizer.from_pretrained(source), folder)


@pytest.fixture(scope="module", name="published")
def publish_without_bos(server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder, tokenizer, told = tmp_path_factory.mktemp("without"), qwen_tokenizer(), Told()
    models = [factories.tiny_gpt2(folder / "tiny-a", 0, tokenizer), folder / "tiny-b"]
    make_candidate(models[0])
    copy_with_noise(*models)
    documents = [{"text": text, "subset": ("one", "two")[i % 2]} for i, text in enumerate(texts_with_special(500))]
    corpus = factories.write_jsonl(folder / "corpus.jsonl", documents)
    with database(server, template) as url:
        assert ingest(asked(models, corpus, database_url=url), told).run_id == 1
        yield Published(url, models, corpus, told.of_bos)


def count(url: str, table: str, condition: str = "true") -> int:
    return int(rows(url, f"SELECT count(*) FROM {table} WHERE {condition}")[0][0])
