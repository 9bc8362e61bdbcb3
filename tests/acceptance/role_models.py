"""Models of each architecture and one run with every role, for tests of what neurons do and of what is asked for later."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import URL

from catalog import parts
from ingest.asked.settings import InterveneSettings
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.inputs import load_inputs
from ingest.progress import Silent
from ingest.settings import IngestSettings
from tests import factories
from tests.acceptance.ingests import run_ingest, small_corpus
from tests.candidates import make_candidate
from tests.conftest import database

NAMES = ("serial", "parallel", "relu", "shallow")
CONTEXT, TOKENS, D_MLP = 24, 960, 24



@pytest.fixture(scope="module", name="models")
def make_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each architecture, and one of a single layer; those of GPT-2 have a candidate for an entropy neuron."""
    folder, tokenizer = tmp_path_factory.mktemp("models"), factories.byte_bpe_tokenizer()
    made = {
        "serial": factories.tiny_gpt2(folder / "serial", 0, tokenizer, n_layers=3, scale_attn_by_inverse_layer_idx=True),
        "parallel": factories.tiny_neox(folder / "parallel", 1, tokenizer, n_layers=3),
        "relu": factories.tiny_opt(folder / "relu", 2, tokenizer, n_layers=3),
        "shallow": factories.tiny_gpt2(folder / "shallow", 3, tokenizer, n_layers=1),
    }
    for name in ("serial", "shallow"):
        make_candidate(made[name])
    return made


@pytest.fixture(scope="module", name="corpus")
def make_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"), 40)


@pytest.fixture(scope="module", name="url")
def publish_models(server: URL, template: str, models: dict[str, Path], corpus: Path) -> Iterator[str]:
    """A catalog of these models with every role, one run."""
    with database(server, template) as made:
        only = ("weights", *parts.groups()["roles"])
        run_ingest(made, list(models.values()), corpus, only=only, context=CONTEXT, intervention_tokens=TOKENS)
        yield made


def opened(folder: Path) -> Checkpoint:
    """A checkpoint with processed weights."""
    checkpoint = open_checkpoint(parse_model_argument(str(folder)), torch.device("cpu"))
    checkpoint.process(tokenizer_identity(checkpoint.tokenizer).n_tokens)
    return checkpoint


def read_corpus(model: Path, corpus: Path) -> TokenCorpus:
    """The corpus in rows, as the ingest reads it again."""
    inputs = load_inputs(IngestSettings((str(model),), str(corpus), context=CONTEXT, only=("entropy",)), Silent())
    assert inputs.corpus is not None
    return inputs.corpus


def ask(url: str, model: str, *neurons: tuple[tuple[int, int], ...], **more: object) -> InterveneSettings:
    given = {"model": model, "neurons": neurons, "tokens": TOKENS, "device": "cpu", "database_url": url, **more}
    return InterveneSettings(**given)  # type: ignore[arg-type]


class Heard(Silent):
    """What was begun."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.phases.append(name)
