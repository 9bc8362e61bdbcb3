"""Builds the pocket corpora from the text of ordinary packages; run once, its output is shipped.

    apt-get install bible-kjv bible-kjv-text sword-text-sparv libsword-utils postgresql-doc-15
    pip download --no-deps --no-binary :all: brotli==1.2.1
    python pocket/build_corpus.py --books brotli-1.2.1.tar.gz

Documents (a chapter, a page of a manual, a module) go whole to the training or to the held-out side, chosen by a hash
of the document, so that no held-out document was trained on. Sources and licences: pocket/README.md.
"""

import argparse
import gzip
import hashlib
import html.parser
import json
import lzma
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
BOOKS = {"alice29.txt": 3000, "asyoulik.txt": 3000, "plrabn12.txt": 3000}
"""Alice in Wonderland, As You Like It, Paradise Lost, from the test data of brotli; characters per document."""

LIMITS = {"literature": 4_200_000, "spanish": 2_600_000, "technical": 3_000_000, "code": 3_400_000}
"""Characters taken of each kind, training and held-out together."""

HELD_OUT_SHARE = 0.25
LONGEST = 60_000
"""Characters kept of one document."""

HELD_OUT_LIMIT = 580_000
"""Held-out characters kept of each kind: 1.2 to 1.5 million tokens together."""


class PageText(html.parser.HTMLParser):
    """The text of a manual page without its navigation."""

    BLOCKS = frozenset({"p", "div", "pre", "li", "h1", "h2", "h3", "dt", "dd", "tr"})
    HIDDEN = frozenset({"script", "style", "head"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in self.HIDDEN
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in self.HIDDEN

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def literature(books: Path) -> Iterator[str]:
    """The King James Bible by chapter, and three books in pieces."""
    yield from books_of(books)
    text = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True).stdout
    yield from chapters(re.match(r"(\w+?)(\d+):\d+ (.*)", line) for line in text.splitlines())


def books_of(archive: Path) -> Iterator[str]:
    """Pieces of whole paragraphs of about the given length."""
    with tarfile.open(archive) as tar:
        for name, size in BOOKS.items():
            member = next(m for m in tar.getmembers() if m.name.endswith(f"testdata/{name}"))
            handle = tar.extractfile(member)
            assert handle is not None, name
            yield from pieces(handle.read().decode("latin-1").replace("\r\n", "\n").replace("\x1a", ""), size)


def pieces(text: str, size: int) -> Iterator[str]:
    """Whole paragraphs together until they reach `size` characters."""
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text):
        piece += paragraph + "\n\n"
        if len(piece) >= size:
            yield piece
            piece = ""
    yield piece


def chapters(verses: Iterable[re.Match[str] | None]) -> Iterator[str]:
    """Join the verses (book, chapter, text) of each chapter."""
    key, lines = ("", ""), list[str]()
    for verse in verses:
        if verse is None:
            continue
        if (verse[1], verse[2]) != key and lines:
            yield "\n".join(lines)
            lines = []
        key = (verse[1], verse[2])
        lines.append(verse[3])
    yield "\n".join(lines)


def spanish() -> Iterator[str]:
    """The Reina-Valera Bible of 1909 by chapter."""
    text = subprocess.run(["mod2imp", "spaRV1909eb", "-s"], capture_output=True, text=True, check=True).stdout
    verses = re.findall(r"^\$\$\$([^\n]+?) (\d+):\d+\n([^\n$]+)", text, flags=re.M)
    joined = "\n".join(f"{re.sub(r'[^A-Za-z]', '', book)}{chapter}:1 {verse}" for book, chapter, verse in verses)
    yield from chapters(re.match(r"([A-Za-z]+)(\d+):1 (.*)", line) for line in joined.splitlines())


def technical() -> Iterator[str]:
    """The PostgreSQL manual by page."""
    for path in sorted(Path("/usr/share/doc/postgresql-doc-15/html").glob("*.html")):
        parser = PageText()
        parser.feed(path.read_text(errors="replace"))
        lines = "".join(parser.parts).replace("\xa0", " ").splitlines()
        yield "\n".join(line.rstrip() for line in lines if line.strip() and not line.startswith("Prev "))


def code() -> Iterator[str]:
    """The Python standard library by module."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {
        "test",
        "tests",
        "site-packages",
        "idlelib",
        "lib2to3",
        "encodings",
        "pydoc_data",
        "__pycache__",
        "idle_test",
    }
    for path in sorted(root.rglob("*.py")):
        if not skipped & set(path.relative_to(root).parts):
            yield path.read_text(errors="replace")


def held_out(text: str) -> bool:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def shuffled(texts: Iterable[str]) -> list[str]:
    """A fixed order that has nothing to do with the source's."""
    return sorted(texts, key=lambda text: hashlib.sha256(b"order" + text.encode()).digest())


def divide(subset: str, texts: Iterable[str], sides: dict[bool, list[dict[str, str]]]) -> None:
    """Add one kind's documents to the training (False) or the held-out side (True), up to the limits."""
    taken, kept = {True: 0, False: 0}, 0
    for text in shuffled(t for t in texts if len(t) > 50):
        text = text[:LONGEST]
        if sum(taken.values()) + len(text) > LIMITS[subset]:
            continue
        side = held_out(text)
        if not side or kept + len(text) <= HELD_OUT_LIMIT:
            sides[side].append({"text": text, "subset": subset})
            kept += len(text) * side
        taken[side] += len(text)
    print(f"{subset}: {taken[False]:,} characters to train, {kept:,} held out", file=sys.stderr)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--books", type=Path, required=True, help="the source archive of brotli 1.2.1")
    arguments.add_argument("--folder", type=Path, default=HERE / "corpus", help="where the two files go")
    options = arguments.parse_args()
    kinds = {"literature": literature(options.books), "spanish": spanish(), "technical": technical(), "code": code()}
    sides: dict[bool, list[dict[str, str]]] = {True: [], False: []}
    for subset, texts in kinds.items():
        divide(subset, texts, sides)
    lines = {side: "".join(json.dumps(d, ensure_ascii=False) + "\n" for d in sides[side]).encode() for side in sides}
    options.folder.mkdir(exist_ok=True)
    (options.folder / "heldout.jsonl.gz").write_bytes(gzip.compress(lines[True], 9, mtime=0))
    (options.folder / "train.jsonl.xz").write_bytes(lzma.compress(lines[False], preset=9))


if __name__ == "__main__":
    main()
