"""With what rows of tokens begin: `--bos`, and what the files of a tokenizer say.

auto: a BOS token that the tokenizer has is put before every row, unless its files say that texts do not begin with it. By

1. no BOS token (Qwen): rows begin with text;
2. what it puts before a text that it encodes: where that is BOS, so do rows (Llama, Gemma, OPT);
3. else BOS that is the end-of-text token as well: texts of the training stood one behind the other with it between them, so
   that each begins behind one, whatever the tokenizer adds to a text by itself, which is nothing (GPT-2, Pythia);
4. else what its files say: where its post-processor puts other tokens about a text and not BOS before it, or where
   tokenizer_config.json has add_bos_token false, rows begin with text; where they say nothing, with BOS.

Models of a run whose tokenizers are alike may differ in this, for a copy of a checkpoint easily loses what is said beside its
tokenizer.json: what one says then holds for those that say nothing. Where one says so and another the contrary, a person says.

Where rows begin with text, no position is that of BOS. The first token of a row is a token like any other: it is kept by
M_corr and M_next (SPEC 0.3) unless it is masked for what it is. It has no predecessor: no feature of the previous token is true
of it, no bigram ends there, nor a trigram at the second. What is told of positions is told of all, the first included.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from catalog import parts
from catalog.errors import InputError, did_you_mean

MODES = ("auto", "always", "never")


class Bos(NamedTuple):
    """The BOS token of a tokenizer."""

    id: int | None
    """None if it has none."""
    text: str | None
    usual: bool
    """Texts begin with it, by what the files of the tokenizer say."""
    stated: bool = True
    """They do say it; False: it follows from their silence."""


@dataclass(frozen=True)
class RowStart:
    """With what the rows of a run begin."""

    mode: str
    bos: Bos
    bos_id: int | None
    """What is put before every row; None: rows begin with text."""

    @property
    def with_bos(self) -> bool:
        return self.bos_id is not None

    @property
    def reason(self) -> str:
        """Why rows begin without BOS, where they do."""
        if self.mode == "never":
            return "--bos never"
        return "the tokenizer has no BOS" if self.bos.id is None else f"the tokenizer puts no {self.bos.text} before texts"

    def record(self) -> dict[str, Any]:
        """The same for the settings of a run, with what it lacks of any part."""
        why = {} if self.with_bos else {"reason": self.reason, "left_out": left_out(parts.names())}
        return {"mode": self.mode, "prepended": self.with_bos, "id": self.bos.id, "token": self.bos.text, **why}

    def told(self, names: Iterable[str]) -> list[str]:
        """What a person is told of what these parts lose: a sentence, or none."""
        lost = {} if self.with_bos else left_out(names)
        if not lost:
            return []
        listed = "; ".join(f"{what} ({part})" for part, what in lost.items())
        return [f"rows begin without BOS ({self.reason}), so what it defines is left out: {listed}"]

    def defined(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the parts that can be measured on such rows.

        Raises:
            InputError: none of them can.
        """
        asked = tuple(names)
        known = tuple(name for name in asked if self.with_bos or not parts.part_named(name).needs_bos)
        if asked and not known:
            raise InputError(
                f"{', '.join(asked)} cannot be measured: BOS defines it, and rows begin without ({self.reason}); "
                f"{'name other parts' if self.bos.id is None else 'give --bos always, or name other parts'} with --only."
            )
        return known


def left_out(names: Iterable[str]) -> dict[str, str]:
    """What BOS defines of each of these parts, by its name."""
    defined = ((name, parts.part_named(name).defined_by_bos) for name in names)
    return {name: what for name, what in defined if what}


def check_mode(mode: str) -> None:
    """Raises:
    InputError: there is no such mode.
    """
    if mode not in MODES:
        raise InputError(f"--bos {mode!r} is not offered{did_you_mean(mode, MODES)}; choose from {', '.join(MODES)}.")


def agreed(mode: str, of_models: Sequence[Bos]) -> Bos:
    """What holds for all models of a run, which have the same BOS token.

    Raises:
        InputError: by `auto`, and the files of one say that texts begin with it, those of another that they do not.
    """
    stated = [bos for bos in of_models if bos.stated]
    if mode == "auto" and len({bos.usual for bos in stated}) > 1:
        raise InputError(
            f"the tokenizers of these models differ in whether texts begin with {stated[0].text}, so that --bos auto cannot "
            "decide it; give --bos always or --bos never."
        )
    return (stated or list(of_models))[0]


def row_start(mode: str, bos: Bos) -> RowStart:
    """With what rows begin.

    Raises:
        InputError: BOS is asked for, and the tokenizer has none.
    """
    if mode == "always" and bos.id is None:
        raise InputError("--bos always needs a BOS token, which the tokenizer of these models does not have; leave it out.")
    prepended = mode == "always" or (mode == "auto" and bos.usual)
    return RowStart(mode, bos, bos.id if prepended else None)
