"""A tokenizer, and corpora tokenised with it, for the tests of corpora and their cache."""

import socket
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import TokenizerInfo, tokenizer_identity
from tests.factories import byte_bpe_tokenizer

CONTEXT = 16


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_bpe_tokenizer()


@pytest.fixture(scope="session")
def info(tokenizer: PreTrainedTokenizerFast) -> TokenizerInfo:
    return tokenizer_identity(tokenizer)


@pytest.fixture
def make_corpus(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, info: TokenizerInfo) -> Any:
    """`tokenise` with defaults, into a cache of this test's own."""

    def make(path: Path, **options: Any) -> TokenCorpus:
        columns = {field.name: options.pop(field.name) for field in fields(CorpusSource) if field.name in options}
        settings = {"context": CONTEXT, "max_tokens": None, "seed": 0, "keep_eos": False} | options
        return tokenise(CorpusSource(str(path), **columns), info, tokenizer, cache_dir=tmp_path / "cache", **settings)

    return make


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be asked elsewhere, which takes long where it cannot be answered."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
