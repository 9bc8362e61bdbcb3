"""Values of JSON files: one per line, or those of one list, from text in any encoding, compressed or not."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from catalog.errors import InputError

CHUNK = 1 << 16


class JsonValue(NamedTuple):
    """One value of a file."""

    where: str
    """The file, and the line where values are lines."""
    value: Any


def json_values(path: Path, encoding: str) -> Iterator[JsonValue]:
    """Every line's value; of a file that is one list, its elements; of a .json file over several lines, its one value.

    Raises:
        InputError: the file is damaged, is not in the encoding, or a line is no JSON.
    """
    try:
        try:
            with _opened(path) as binary, io.TextIOWrapper(binary, encoding=encoding, newline="\n") as text:
                yield from _values(path, text)
        except UnicodeDecodeError as error:
            raise _not_in_encoding(path, encoding, error) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an undamaged file.") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed."""
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    ending = path.suffix.lower()
    if ending == ".zst":
        import pyarrow

        with pyarrow.OSFile(str(path)) as raw, pyarrow.CompressedInputStream(raw, "zstd") as stream:
            yield cast(IO[bytes], stream)
    else:
        with openers.get(ending, io.open)(path, "rb") as file:
            yield file


def _values(path: Path, text: io.TextIOWrapper) -> Iterator[JsonValue]:
    # some editors put a byte order mark before the text
    lines = ((n, line.removeprefix("\ufeff") if n == 1 else line) for n, line in enumerate(text, 1))
    lines = ((n, line) for n, line in lines if line.strip())
    number, line = next(lines, (0, ""))
    if number == 0:
        return
    if not _is_whole(line) and (line.lstrip().startswith("[") or _is_one_document(path)):
        yield from _elements(path, json.loads(line + text.read()))
        return
    first, second = JsonValue(f"line {number} of {path}", _parsed(line, path, number)), next(lines, None)
    if second is None and isinstance(first.value, list):
        yield from _elements(path, first.value)
        return
    yield first
    if second is not None:
        number, line = second
        yield JsonValue(f"line {number} of {path}", _parsed(line, path, number))
    for number, line in lines:
        yield JsonValue(f"line {number} of {path}", _parsed(line, path, number))


def _elements(path: Path, value: Any) -> Iterator[JsonValue]:
    yield from (JsonValue(str(path), element) for element in (value if isinstance(value, list) else [value]))


def _is_one_document(path: Path) -> bool:
    """Whether the name is that of one document rather than one per line, which may be too many to hold at once."""
    return ".json" in [suffix.lower() for suffix in path.suffixes[-2:]]


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        encoding = (
            f"; its NULs are those of another encoding, such as --encoding {_likely_encoding(path)}" if "\0" in line else ""
        )
        raise InputError(f"line {number} of {path} is no JSON ({error}{encoding}); give one object per line.") from None


def _not_in_encoding(path: Path, encoding: str, error: UnicodeDecodeError) -> InputError:
    line, offset, byte = _place(path, encoding)
    return InputError(
        f"line {line} of {path} is not {encoding.upper()}: byte 0x{byte:02x} at offset {offset} ({error.reason}); name the "
        f"encoding that the file has, such as --encoding {_likely_encoding(path)}."
    )


def _likely_encoding(path: Path) -> str:
    with _opened(path) as binary:
        start = binary.read(4)
    marks = {
        "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
        "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    }
    marked = [name for name, boms in marks.items() if start.startswith(boms)]
    wide = [name for name, nuls in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])) if nuls == b"\0\0"]
    return [*marked, *wide, "latin-1"][0]


def _place(path: Path, encoding: str) -> tuple[int, int, int]:
    """Line (from 1), offset (from 0, decompressed) and value of the first byte that cannot be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    with _opened(path) as binary:
        while True:
            chunk = binary.read(CHUNK)
            before = decoder.getstate()
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                if not chunk:
                    return line, offset - len(error.object) + error.start, error.object[error.start]
                break
            if not chunk:
                raise OSError("it changes while it is read")
            offset += len(chunk)
    decoder.setstate(before)
    for byte in chunk:
        offset += 1
        try:
            line += decoder.decode(bytes([byte])).count("\n")
        except UnicodeDecodeError as error:
            return line, offset - len(error.object) + error.start, error.object[error.start]
    raise OSError("it decodes in pieces but not as a whole")
