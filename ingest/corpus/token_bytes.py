"""The bytes that each token stands for, read from its own name the way the decoder reads names.

Joined over a document they are the normalised document, which begins with a space where the tokenizer puts one there (the
"dummy prefix"). Where a tokenizer loses text, so do the bytes: white space that its pre-tokenizer drops, or that an added
token swallows (lstrip, rstrip), is in no token. A literal `▁` or `<0x41>` in a text cannot be told from the space or the
byte that it names.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders

from catalog.errors import InputError

Description = Mapping[str, Any]
"""A tokenizer.json, or a part of one."""
Step = Callable[[str], str | bytes]
"""Reads a name; bytes are final."""
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def token_bytes(backend: Tokenizer, description: Description, unknown: Sequence[int], n_tokens: int) -> list[bytes | None]:
    """Bytes per id, None where there are none: for unknown text, and for an id that no token has.

    Args:
        description: what `backend` is.
        unknown: ids that stand for text that the tokenizer does not know.
    Raises:
        InputError: by its decoder, a token has no bytes of its own.
    """
    steps = list(_steps(description))
    vocabulary = backend.get_vocab(with_added_tokens=False)
    added = {token["content"]: token for token in description["added_tokens"]}
    result: list[bytes | None] = [None] * n_tokens
    for name, i in backend.get_vocab(with_added_tokens=True).items():
        if i not in unknown:
            # an added token that the model has as well can come from the model, in the model's spelling
            result[i] = _read(name, steps) if name in vocabulary else _written(added[name], backend, description)
    return result


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte, the other way round (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    missing = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    return stand_ins | {chr(256 + i): byte for i, byte in enumerate(missing)}


def parts_of(component: Description | None) -> Iterator[Description]:
    """The links of a normalizer, pre-tokenizer or decoder, in order; chains within chains are laid open."""
    if component is None:
        return
    if component["type"] != "Sequence":
        yield component
        return
    for name in ("normalizers", "pretokenizers", "decoders"):
        for part in component.get(name, ()):
            yield from parts_of(part)


def _read(name: str, steps: Sequence[Step]) -> bytes:
    piece: str | bytes = name
    for step in steps:
        if isinstance(piece, bytes):
            break
        piece = step(piece)
    return piece if isinstance(piece, bytes) else piece.encode()


def _written(token: Description, backend: Tokenizer, description: Description) -> bytes:
    """Of an added token, which is looked for in the text itself: as it is, or as the normalizer writes it."""
    if token["special"] or not token["normalized"] or backend.normalizer is None:
        return str(token["content"]).encode()
    return _read(backend.normalizer.normalize_str(token["content"]), list(_undone(parts_of(description["normalizer"]))))


def _steps(description: Description) -> Iterator[Step]:
    """How names are read."""
    parts = list(parts_of(description["decoder"]))
    kinds = {part["type"] for part in parts}
    yield from _affixes(description["model"], kinds)
    if not parts:
        yield from _undone([*parts_of(description["normalizer"]), *parts_of(description["pre_tokenizer"])])
        if description["model"].get("byte_fallback"):
            yield _fallback_byte
        return
    whole = False
    for part in parts:
        # once the pieces are one text, its ends are those of the document: what is stripped there is the dummy prefix
        whole |= part["type"] in ("Fuse", "ByteLevel")
        if part["type"] != "Fuse" and not (whole and part["type"] == "Strip"):
            yield _step(part)


def _step(part: Description) -> Step:
    """What one link of the decoder does to a token that stands between others."""
    match part["type"]:
        case "ByteLevel":
            return _byte_level
        case "ByteFallback":
            return _fallback_byte
        case "Metaspace":
            return _replacing(part["replacement"], " ")
        case "BPEDecoder":
            return _replacing(part["suffix"], " ")
        case "Replace" if "String" in part["pattern"]:
            return _replacing(part["pattern"]["String"], part["content"])
        case "Replace":
            replace = decoders.Replace(Regex(part["pattern"]["Regex"]), part["content"])
            return lambda name: replace.decode([name])
        case "Strip":
            strip = decoders.Strip(part["content"], part["start"], part["stop"])
            return lambda name: strip.decode([name])
        case "WordPiece":
            words = decoders.WordPiece(prefix=part["prefix"], cleanup=part["cleanup"])
            return lambda name: words.decode(["a", name])[1:]
    raise InputError(
        f"the tokenizer's decoder {part['type']} gives no bytes to a token alone; give a model whose tokenizer has a "
        "ByteLevel, Metaspace, ByteFallback, Replace, WordPiece or BPEDecoder decoder, or none."
    )


def _undone(parts: Sequence[Description] | Iterator[Description]) -> Iterator[Step]:
    """What takes back how these links of a normalizer or pre-tokenizer write spaces and bytes."""
    for part in parts:
        if part["type"] == "ByteLevel":
            yield _byte_level
        elif part["type"] == "Metaspace":
            yield _replacing(part["replacement"], " ")
        elif part["type"] == "Replace" and part["pattern"].get("String") == " " and part["content"]:
            yield _replacing(part["content"], " ")


def _affixes(model: Description, kinds: set[str]) -> Iterator[Step]:
    """Signs of the model for where in a word a token stands, which are no text; some decoders read them themselves."""
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    if prefix and "WordPiece" not in kinds:
        yield lambda name: name.removeprefix(prefix)
    if suffix and "BPEDecoder" not in kinds:
        yield lambda name: name.removesuffix(suffix)


def _replacing(old: str, new: str) -> Step:
    return lambda name: name.replace(old, new)


_ALPHABET = byte_alphabet()


def _byte_level(name: str) -> str | bytes:
    """A name with a character of no byte stands for itself, as in the library."""
    return bytes(_ALPHABET[c] for c in name) if all(c in _ALPHABET for c in name) else name


def _fallback_byte(name: str) -> str | bytes:
    is_byte = len(name) == 6 and name.startswith("<0x") and name[5] == ">" and HEXADECIMAL.issuperset(name[3:5])
    return bytes([int(name[3:5], 16)]) if is_byte else name
