"""What the catalog needs of a tokenizer: identity, the ids that are masked, bytes and text of every id, and ids of texts."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from catalog.errors import InputError
from catalog.text import escape
from ingest.checkpoints.tokenizer_config import said_of_bos
from ingest.corpus.bos import Bos
from ingest.corpus.special_texts import without_control_tokens
from ingest.corpus.token_bytes import token_bytes

Encoder = Callable[[Sequence[str]], list[list[int]]]
"""Texts to the token ids of each."""
INERT = ("version", "truncation", "padding")
"""Of a tokenizer.json: what the catalog never uses."""


@dataclass(frozen=True)
class TokenizerInfo:
    """A tokenizer, reduced to facts; ids run from 0 to n_tokens - 1."""

    sha256: str
    """Over everything that decides ids or bytes: equal for equal tokenizers, wherever they were read from."""
    n_tokens: int
    bos: Bos
    """Its BOS token, and whether its files have texts begin with it."""
    eos_id: int | None
    """The end-of-text id; that of BOS where there is only BOS. None if there is neither."""
    pad_id: int | None
    newline_id: int | None
    """The one id whose bytes are exactly a newline; of several that which a newline is given. None if there is none."""
    masked_ids: frozenset[int]
    """PAD, BOS, EOS and newline: positions that M_corr leaves out (SPEC §0.3)."""
    token_bytes: list[bytes | None]
    """The bytes of each id; None where it stands for unknown text, or is no token's."""
    strings: list[str]
    """The text of each id's bytes, in which what is no UTF-8 is U+FFFD; an id without bytes has its name."""

    @property
    def bos_id(self) -> int | None:
        """Of the BOS token, whether rows begin with it or not; None if there is none."""
        return self.bos.id

    @property
    def special_ids(self) -> frozenset[int]:
        """PAD, BOS and EOS, after which nothing is predicted (SPEC §0.3, M_next and M_half)."""
        return frozenset(i for i in (self.bos.id, self.eos_id, self.pad_id) if i is not None)

    @cached_property
    def unknown_ids(self) -> frozenset[int]:
        """Ids without bytes: their text is not known, so nothing is true of it."""
        return frozenset(i for i, raw in enumerate(self.token_bytes) if raw is None)

    @property
    def texts(self) -> list[str]:
        """What the database shows of each id; see `catalog.text.escape`."""
        pairs = zip(self.token_bytes, self.strings, strict=True)
        return [escape(name.encode() if raw is None else raw) for raw, name in pairs]


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> TokenizerInfo:
    """Read a tokenizer's facts.

    Raises:
        InputError: its ids are not decided by its tokenizer.json alone, or its tokens have no bytes of their own.
    """
    backend, description = _described(tokenizer)
    bos = Bos(tokenizer.bos_token_id, tokenizer.bos_token, *_texts_begin_with_bos(tokenizer))
    eos = bos.id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    special = {"bos": bos.id, "eos": eos, "pad": tokenizer.pad_token_id}
    names = {i: name for name, i in backend.get_vocab(with_added_tokens=True).items()}
    n_tokens = max(names) + 1
    unknown = _unknown(tokenizer, description["model"], {name: i for i, name in names.items()}, set(special.values()))
    raw_bytes = token_bytes(backend, description, unknown, n_tokens)
    newline = _newline(raw_bytes, tokenizer)
    content = json.dumps([description, special, sorted(unknown)], sort_keys=True)
    return TokenizerInfo(
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        n_tokens=n_tokens,
        bos=bos,
        eos_id=eos,
        pad_id=tokenizer.pad_token_id,
        newline_id=newline,
        masked_ids=frozenset(i for i in (*special.values(), newline) if i is not None),
        token_bytes=raw_bytes,
        strings=[_string(raw, names.get(i, f"<id {i}>")) for i, raw in enumerate(raw_bytes)],
    )


def _texts_begin_with_bos(tokenizer: PreTrainedTokenizerBase) -> tuple[bool, bool]:
    """Whether a text begins with BOS, and whether the tokenizer's files say so; the rule is that of `ingest.corpus.bos`."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return False, True
    put_about_texts = tokenizer("", add_special_tokens=True)["input_ids"]
    if put_about_texts[:1] == [bos] or bos == tokenizer.eos_token_id:
        return True, True
    if put_about_texts:
        return False, True
    said = said_of_bos(tokenizer)
    return said is not False, said is not None


def text_encoder(tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """What turns texts into ids, without special tokens: those written out in a text are text.

    It is made of what the identity covers and of nothing else, so equal identities give equal ids.

    Raises:
        InputError: as `tokenizer_identity`, or an added token has two entries.
    """
    _, description = _described(tokenizer)
    as_read, encode = (_encoder(content) for content in (description, without_control_tokens(description)))
    for token in description["added_tokens"]:
        ids = tokenizer(token["content"], add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        if as_read([token["content"]]) != [ids]:
            raise _twice(tokenizer, token["content"])
    return encode


def _encoder(description: dict[str, Any]) -> Encoder:
    made = Tokenizer.from_str(json.dumps(description))
    made.encode_special_tokens = True

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in made.encode_batch_fast(list(texts), add_special_tokens=False)]

    return encode


def _described(tokenizer: PreTrainedTokenizerBase) -> tuple[Tokenizer, dict[str, Any]]:
    """The library's tokenizer, and all that decides its ids and bytes in the layout of a tokenizer.json.

    The library has read and written it once, so that spellings of one thing (merges as texts or as pairs, defaults left
    out, the order of keys) are one.
    """
    _refuse_python(tokenizer)
    backend: Tokenizer = tokenizer.backend_tokenizer
    _refuse_chance(tokenizer, backend)
    description = {key: value for key, value in json.loads(backend.to_str()).items() if key not in INERT}
    description["model"].pop("dropout", None)  # 0, or it was refused
    vocabulary = backend.get_vocab(with_added_tokens=True)
    if len(set(vocabulary.values())) < len(vocabulary):
        raise InputError(
            f"the tokenizer {tokenizer.name_or_path!r} has {len(vocabulary)} tokens and only {len(set(vocabulary.values()))} "
            "ids, so it is not known which token an id is; get an undamaged tokenizer.json."
        )
    _refuse_twins(tokenizer, backend, description["added_tokens"])
    return backend, description


def _refuse_python(tokenizer: PreTrainedTokenizerBase) -> None:
    kind, usual = type(tokenizer), PreTrainedTokenizerFast
    if not isinstance(tokenizer, usual) or any(
        getattr(kind, name) is not getattr(usual, name) for name in ("__call__", "_encode_plus")
    ):
        raise InputError(
            f"the tokenizer {tokenizer.name_or_path!r} is a {kind.__name__}, which makes tokens by code of its own, so what "
            "decides them cannot be recorded; give a model whose tokenizer is a tokenizer.json."
        )


def _refuse_chance(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer) -> None:
    for name in ("dropout", "alpha", "nbest_size"):
        value = getattr(backend.model, name, None)
        if value:
            raise InputError(
                f"the tokenizer {tokenizer.name_or_path!r} cuts words at random ({name} is {value:g}), so its ids cannot be "
                f"repeated; set {name} to null in its tokenizer.json."
            )


def _refuse_twins(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer, added: Sequence[dict[str, Any]]) -> None:
    """Of two added tokens that are one text once normalised the library takes either, from one start to the next."""
    first: dict[tuple[bool, str], dict[str, Any]] = {}
    for token in added:
        normalize = token["normalized"] and backend.normalizer is not None
        text = backend.normalizer.normalize_str(token["content"]) if normalize else token["content"]
        twin = first.setdefault((token["normalized"], text), token)
        if twin is not token and not (twin["special"] and token["special"]):
            raise _twice(tokenizer, token["content"])


def _twice(tokenizer: PreTrainedTokenizerBase, content: str) -> InputError:
    return InputError(
        f"the tokenizer {tokenizer.name_or_path!r} has two entries for the added token {content!r}, as its normalizer writes "
        "it; leave one in added_tokens of its tokenizer.json."
    )


def _unknown(
    tokenizer: PreTrainedTokenizerBase, model: dict[str, Any], ids: dict[str, int], special: set[int | None]
) -> list[int]:
    """Ids that stand for text that the tokenizer does not know: the model's own, and the one set beside it."""
    unknown = model["unk_id"] if "unk_id" in model else ids.get(model.get("unk_token") or "")
    beside = tokenizer.unk_token_id
    return sorted(i for i in {unknown, None if beside in special else beside} if i is not None)


def _newline(raw_bytes: list[bytes | None], tokenizer: PreTrainedTokenizerBase) -> int | None:
    newlines = [i for i, raw in enumerate(raw_bytes) if raw == b"\n"]
    if len(newlines) > 1:
        # a byte's token beside the character's own: only one of them is ever given
        ids = set(text_encoder(tokenizer)(["a\nb"])[0])
        newlines = [i for i in newlines if i in ids]
    return newlines[0] if len(newlines) == 1 else None


def _string(raw: bytes | None, name: str) -> str:
    return name if raw is None else raw.decode("utf-8", errors="replace")
