"""What is read of a tokenizer: identity, masked ids, bytes and text of every id."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ingest.corpus.tokenizer import tokenizer_identity
from tests.factories import END_OF_TEXT, byte_bpe_tokenizer, random_texts


def word_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, without bytes and without a newline."""
    words = ["<unk>", "<s>", "</s>", "é", "the", "of"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def test_equal_tokenizers_have_one_identity_wherever_they_were_saved(tmp_path: Path) -> None:
    tokenizer = byte_bpe_tokenizer(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer_identity(read) == tokenizer_identity(tokenizer)


def test_another_map_or_another_special_id_is_another_identity() -> None:
    first = tokenizer_identity(byte_bpe_tokenizer())
    assert tokenizer_identity(byte_bpe_tokenizer(texts=random_texts(seed=1))).sha256 != first.sha256
    padded = tokenizer_identity(byte_bpe_tokenizer(pad_token=END_OF_TEXT))
    assert padded.n_tokens == first.n_tokens and padded.sha256 != first.sha256


def test_special_ids_and_newline_are_masked() -> None:
    info = tokenizer_identity(byte_bpe_tokenizer(eos_token="<|eos|>", pad_token="<|pad|>"))
    assert (info.bos_id, info.eos_id, info.pad_id) == (0, 1, 2)
    assert info.newline_id is not None and info.strings[info.newline_id] == "\n"
    assert info.masked_ids == {0, 1, 2, info.newline_id}


def test_end_of_text_is_no_bos_and_there_may_be_neither() -> None:
    info = tokenizer_identity(byte_bpe_tokenizer(bos_token=None))
    assert (info.bos_id, info.eos_id) == (None, 0)
    neither = tokenizer_identity(byte_bpe_tokenizer(bos_token=None, eos_token=None))
    assert (neither.bos_id, neither.eos_id) == (None, None)
    assert neither.special_ids == frozenset() and neither.masked_ids == {neither.newline_id}
    without_end = tokenizer_identity(byte_bpe_tokenizer(eos_token=None))
    assert without_end.bos_id == without_end.eos_id == 0


def test_without_a_newline_token_nothing_more_is_masked() -> None:
    info = tokenizer_identity(word_tokenizer(bos_token="<s>", eos_token="</s>"))
    assert info.newline_id is None
    assert info.masked_ids == {1, 2}
    assert info.token_bytes[3] == "é".encode()


def test_bytes_of_every_id_rebuild_any_text() -> None:
    tokenizer = byte_bpe_tokenizer()
    info = tokenizer_identity(tokenizer)
    assert len(info.token_bytes) == len(info.strings) == info.n_tokens == len(tokenizer)
    for text in ("naïve 語 👩‍👩‍👧 e\u0301 \0 a\r\nb \u05d0\u05d1 ␣", *random_texts(3)):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert b"".join(info.token_bytes[i] for i in ids) == text.encode()


def test_half_a_character_is_kept_as_bytes_and_shown_as_a_replacement() -> None:
    tokenizer = byte_bpe_tokenizer()
    info = tokenizer_identity(tokenizer)
    halves = tokenizer("語", add_special_tokens=False)["input_ids"]
    assert len(halves) == 3
    assert info.strings[halves[0]] == "\N{REPLACEMENT CHARACTER}" and info.token_bytes[halves[0]] == b"\xe8"


def test_spaces_before_punctuation_are_not_cleaned_up() -> None:
    info = tokenizer_identity(byte_bpe_tokenizer(whole_tokens=[" .", " n't"]))
    assert " ." in info.strings and " n't" in info.strings
