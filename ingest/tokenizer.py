"""What the catalog needs of a tokenizer: an identity, the ids that are masked, and the bytes and text of every id."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from catalog.errors import InputError


@dataclass(frozen=True)
class TokenizerInfo:
    """A tokenizer, reduced to facts; ids run from 0 to n_tokens - 1."""

    sha256: str
    """Over the token-to-id map and the special ids: equal for equal tokenizers, wherever they were read from."""
    n_tokens: int
    bos_id: int
    """Put before every row; the end-of-text id where the tokenizer has no BOS."""
    eos_id: int
    pad_id: int | None
    newline_id: int | None
    """The one id that decodes to exactly a newline; None if there is none."""
    masked_ids: frozenset[int]
    """PAD, BOS, EOS and newline: positions that M_corr leaves out (SPEC §0.3)."""
    token_bytes: list[bytes]
    """The bytes of each id."""
    strings: list[str]
    """Each id decoded alone, without clean-up; bytes that are no UTF-8 become U+FFFD."""

    @property
    def special_ids(self) -> frozenset[int]:
        """PAD, BOS and EOS, after which nothing is predicted (SPEC §0.3, M_next and M_half)."""
        return frozenset({self.bos_id, self.eos_id} | ({self.pad_id} if self.pad_id is not None else set()))


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> TokenizerInfo:
    """Read a tokenizer's facts.

    Raises:
        InputError: it has neither a BOS nor an end-of-text token.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    n_tokens = max(vocabulary.values()) + 1
    eos = tokenizer.eos_token_id
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else eos
    if bos is None:
        raise InputError(
            f"the tokenizer {tokenizer.name_or_path!r} has neither a BOS nor an end-of-text token, so rows cannot begin; "
            "set bos_token in its tokenizer_config.json."
        )
    eos = bos if eos is None else eos
    special = {"bos": bos, "eos": eos, "pad": tokenizer.pad_token_id}
    content = json.dumps([sorted(vocabulary.items(), key=lambda item: item[1]), special], ensure_ascii=True)
    token_bytes = _token_bytes(tokenizer, vocabulary, n_tokens)
    strings = [raw.decode("utf-8", errors="replace") for raw in token_bytes]
    newlines = [i for i, raw in enumerate(token_bytes) if raw == b"\n"]
    newline = newlines[0] if len(newlines) == 1 else None
    return TokenizerInfo(
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        n_tokens=n_tokens,
        bos_id=bos,
        eos_id=eos,
        pad_id=tokenizer.pad_token_id,
        newline_id=newline,
        masked_ids=frozenset(i for i in (bos, eos, tokenizer.pad_token_id, newline) if i is not None),
        token_bytes=token_bytes,
        strings=strings,
    )


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte, the other way round (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    missing = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    return stand_ins | {chr(256 + i): byte for i, byte in enumerate(missing)}


def _token_bytes(tokenizer: PreTrainedTokenizerBase, vocabulary: dict[str, int], n_tokens: int) -> list[bytes]:
    """Bytes per id: by the byte alphabet for byte-level BPE, else the UTF-8 of the decoded text."""
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    result = [b""] * n_tokens
    alphabet = byte_alphabet() if _is_byte_level(tokenizer) else None
    for token, i in vocabulary.items():
        if i in added:
            result[i] = str(added[i].content).encode()
        elif alphabet is not None and all(c in alphabet for c in token):
            result[i] = bytes(alphabet[c] for c in token)
        else:
            result[i] = str(tokenizer.decode([i], clean_up_tokenization_spaces=False)).encode()
    return result


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in str(json.loads(backend.to_str()).get("decoder"))
