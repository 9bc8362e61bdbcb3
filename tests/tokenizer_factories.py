"""Tokenizers as SentencePiece has them, trained here on a few lines; byte-level BPE is in tests/factories.py.

The lines are few and the vocabularies small on purpose: characters outside them become bytes or the unknown token.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.factories import random_texts

SCRIPTS = {
    "latin": "The naïve café owner's cat sat down, 42 times; Straße, İstanbul, e\u0301te\u0301.",
    "cyrillic": "Кошка сидела на окне и смотрела на улицу, где шёл снег.",
    "greek": "Η γάτα κάθεται στο παράθυρο και κοιτάζει τον δρόμο.",
    "arabic": "القط يجلس عند النافذة وينظر إلى الشارع.",
    "cjk": "猫は窓に座って通りを見ている。 小猫坐在窗边看街道。 고양이가 창가에 앉아 있다.",
    "emoji": "Nice 👍🏽 one 👩‍👩‍👧 and 🐈\u200d⬛, flag 🇬🇷!",
    "code": "def f(x):\n\tif x  <  3:\n        return {'a': x**2}\r\n    # end\n",
    "white space": "  two  before,\u00a0one of no break, \u3000 and three after   ",
}
"""A document of each kind."""
PLAIN = (*random_texts(20), SCRIPTS["latin"], SCRIPTS["cyrillic"] * 2)
"""What the tokenizers are trained on."""
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def described(tokenizer: Tokenizer) -> dict[str, Any]:
    """Its tokenizer.json."""
    return json.loads(tokenizer.to_str())


def wrapped(tokenizer: Tokenizer | dict[str, Any], **special: str) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers has it."""
    made = Tokenizer.from_str(json.dumps(tokenizer)) if isinstance(tokenizer, dict) else tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=made, **(special or SPECIAL))


def llama_tokenizer(texts: Sequence[str] = PLAIN) -> PreTrainedTokenizerFast:
    """BPE with byte fallback; the normalizer writes `▁` for spaces and one in front, as Llama's does."""
    tokenizer = _trained_bpe(texts, pre_tokenizers.Metaspace())
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrapped(_with_bytes(tokenizer))


def metaspace_tokenizer(scheme: str = "first", texts: Sequence[str] = PLAIN) -> PreTrainedTokenizerFast:
    """BPE with byte fallback; the pre-tokenizer writes `▁` for spaces, and one in front by the scheme."""
    tokenizer = _trained_bpe(texts, pre_tokenizers.Metaspace(prepend_scheme=scheme))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    return wrapped(_with_bytes(tokenizer))


def unigram_tokenizer(byte_fallback: bool = False, texts: Sequence[str] = PLAIN) -> PreTrainedTokenizerFast:
    """A unigram model as T5's, without a newline; without byte fallback, what is not in it is the unknown token."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    links = [decoders.ByteFallback(), decoders.Metaspace()]
    tokenizer.decoder = decoders.Sequence(links) if byte_fallback else links[1]
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=list(SPECIAL.values()), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([text.replace("\n", " ") for text in texts], trainer)
    return wrapped(_with_bytes(tokenizer) if byte_fallback else tokenizer)


def word_piece_tokenizer(texts: Sequence[str] = PLAIN) -> PreTrainedTokenizerFast:
    """Words and their continuations with `##`, as BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=list(SPECIAL.values()), show_progress=False)
    tokenizer.train_from_iterator(list(texts), trainer)
    return wrapped(tokenizer)


def word_end_tokenizer(texts: Sequence[str] = PLAIN) -> PreTrainedTokenizerFast:
    """BPE that marks the ends of words by `</w>`, as the first GPT's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.WhitespaceSplit(), decoders.BPEDecoder()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL.values()), end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(list(texts), trainer)
    return wrapped(tokenizer)


def _trained_bpe(texts: Sequence[str], pre_tokenizer: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(SPECIAL.values()), show_progress=False)
    tokenizer.train_from_iterator(list(texts), trainer)
    return tokenizer


def _with_bytes(tokenizer: Tokenizer) -> dict[str, Any]:
    """With a token for each byte; no line break has a token of its own, as in Llama."""
    content = described(tokenizer)
    model = content["model"] | {"byte_fallback": True}
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    if model["type"] == "Unigram":
        # rarer than any character, so that a byte's name in a text is not taken for the byte
        model["vocab"] += [[name, -100.0] for name in names]
    else:
        kept = [name for name in model["vocab"] if "\n" not in name]
        model["vocab"] = {name: i for i, name in enumerate([*kept, *names])}
        model["merges"] = [pair for pair in model["merges"] if "\n" not in "".join(pair)]
    for token in content["added_tokens"]:
        assert token["content"] in SPECIAL.values()
    return content | {"model": model}


def qwen_tokenizer(folder: Path | None = None, texts: Sequence[str] | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE as Qwen's: no BOS; documents end with one special token, turns of a chat with another."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(list(PLAIN if texts is None else texts), trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    made = wrapped(tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    if folder is not None:
        made.save_pretrained(folder)
    return made


def with_template(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    """The tokenizer with a template of what is put about a text, such as Llama's `<s> $A`."""
    content = described(tokenizer.backend_tokenizer)
    made = Tokenizer.from_str(json.dumps(content))
    named = {token: made.token_to_id(token) for token in template.split() if not token.startswith("$")}
    pair, special = f"{template} $B:1", [*named.items()]
    made.post_processor = processors.TemplateProcessing(single=template, pair=pair, special_tokens=special)
    return wrapped(made, **{name: getattr(tokenizer, name) for name in SPECIAL if getattr(tokenizer, name) is not None})
