"""Tokenizers that cannot be used, each refused in one sentence."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from catalog.errors import InputError
from ingest.corpus.tokenizer import text_encoder, tokenizer_identity
from tests.factories import byte_bpe_tokenizer
from tests.tokenizer_factories import unigram_tokenizer
from tests.unit.tokenizer_edits import SPECIAL_OF, added, content_of, made


@pytest.mark.parametrize(("name", "value"), [("dropout", 0.1), ("dropout", 1.0)])
def test_a_tokenizer_that_cuts_at_random_is_refused(name: str, value: float) -> None:
    content = content_of("byte-level")
    content["model"][name] = value
    with pytest.raises(InputError, match=f"cuts words at random \\(dropout is {value:g}\\), .*; set dropout to null"):
        tokenizer_identity(made("byte-level", content))


def test_a_unigram_model_that_samples_is_refused() -> None:
    tokenizer = unigram_tokenizer()
    tokenizer.backend_tokenizer.model.nbest_size = 4
    with pytest.raises(InputError, match=r"cuts words at random \(nbest_size is 4\)"):
        tokenizer_identity(tokenizer)


class Shouting(PreTrainedTokenizerFast):
    def _encode_plus(self, text: Any, **options: Any) -> Any:
        return super()._encode_plus([part.upper() for part in text], **options)


class Plain:
    name_or_path, eos_token_id, bos_token_id, pad_token_id = "somewhere", 0, 0, None


def test_a_tokenizer_of_python_code_is_refused() -> None:
    shouting = Shouting(tokenizer_object=byte_bpe_tokenizer().backend_tokenizer, **SPECIAL_OF["byte-level"])
    for tokenizer in (shouting, Plain()):
        with pytest.raises(InputError, match=rf"is a {type(tokenizer).__name__}, which makes tokens by code of its own"):
            tokenizer_identity(tokenizer)


def test_two_tokens_of_one_id_are_refused() -> None:
    content = content_of("llama")
    content["model"]["vocab"]["again"] = content["model"]["vocab"]["e"]
    n = len(content["model"]["vocab"])
    with pytest.raises(InputError, match=f"has {n} tokens and only {n - 1} ids, so it is not known which token an id is"):
        tokenizer_identity(made("llama", content))


@pytest.mark.parametrize("twice", ["the same", "once normalised"])
def test_an_added_token_that_is_there_twice_is_refused(twice: str) -> None:
    content = content_of("byte-level")
    other = ("OVER", 16) if twice == "the same" else ("over", 8)
    content["normalizer"] = {"type": "Lowercase"}
    content["added_tokens"] += [added(*pair) for pair in ((other[0], 998, other[1]), ("OVER", 999, 8 if other[1] == 8 else 0))]
    with pytest.raises(InputError, match=r"has two entries for the added token '(OVER|over)', as its normalizer .* leave one"):
        text_encoder(made("byte-level", content))
