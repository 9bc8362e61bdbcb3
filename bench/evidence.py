"""Evidence for a person: what a rule looked at in words, and places in the text, safe in Markdown."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, text

from catalog.text import together, visible

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")
MIDDLE = ("quantile_50_75", "quantile_25_50", "quantile_75_90")
"""Of the first of these kinds that a neuron has, one example stands beside the highest ones."""
KINDS = {"top": "highest", **{kind: "quantile {}–{} %".format(*kind.split("_")[1:]) for kind in MIDDLE}}
HIGHEST = 2

_TOKENS = """SELECT t.text FROM top_tokens v JOIN neurons n ON n.id = v.neuron_id JOIN models m ON m.id = n.model_id
             JOIN tokens t ON t.tokenizer_id = m.tokenizer_id AND t.token_id = v.token_id
             WHERE v.run_id = :run_id AND v.neuron_id = :neuron_id ORDER BY v.rank LIMIT :shown"""

_EXAMPLES = """SELECT kind, rank, value, subset, before, token, after FROM history.neuron_examples
               WHERE run_id = :run_id AND neuron_id = :neuron_id
                 AND (kind = 'top' AND rank <= :highest OR kind = ANY(:middle) AND rank = 1) ORDER BY rank"""

_DETECTED = "SELECT tokens FROM token_detectors WHERE run_id = :run_id AND neuron_id = :neuron_id AND n = :n"

Evidence = Mapping[str, Any]


def plain(text: str, spaces: bool = True) -> str:
    """Text on one line that Markdown shows as it is: white space and control characters visible, marks escaped."""
    return _SPECIAL.sub(r"\\\1", visible(text, spaces))


def named(name: str) -> str:
    """A name of a family, feature or pattern; as code unless it may hold anything."""
    return f"`{name}`" if re.fullmatch(r"[a-z0-9_]{2,}", name) else plain(name)


def top_tokens(connection: Connection, keys: Evidence, shown: int) -> str:
    """The tokens with the highest mean activation."""
    return "  ".join(plain(token) for token in connection.execute(text(_TOKENS), {**keys, "shown": shown}).scalars())


def excerpts(connection: Connection, keys: Evidence) -> list[str]:
    """Places in the text, one line each: the highest values, and one of the middle.

    Args:
        keys: run_id and neuron_id.
    """
    found = [
        dict(row._mapping) for row in connection.execute(text(_EXAMPLES), {**keys, "highest": HIGHEST, "middle": list(MIDDLE)})
    ]
    middle = next((kind for kind in MIDDLE if any(row["kind"] == kind for row in found)), None)
    return [_excerpt(row) for kind in ("top", middle) for row in found if row["kind"] == kind]


def _excerpt(row: Mapping[str, Any]) -> str:
    # Markdown sees marks of emphasis only where white space is outside of them
    before, after = (plain(together(row[name]), spaces=False).strip() for name in ("before", "after"))
    subset = "" if row["subset"] is None else f", {plain(row['subset'], spaces=False)}"
    return f"{KINDS[row['kind']]}, {row['value']:.3g}{subset}: …{before} **{plain(row['token'])}** {after}…"


def detected(connection: Connection, keys: Evidence, n: int, shown: int) -> str:
    """The n-grams that a detector detects, the most frequent first."""
    found = connection.execute(text(_DETECTED), {**keys, "n": n}).scalar_one()
    more = f" and {len(found) - shown:,} more" if len(found) > shown else ""
    return "  ".join(plain(together(ngram)) for ngram in found[:shown]) + more


def in_words(evidence: Evidence) -> str:
    """What a rule looked at; what no reader knows comes as names and values."""
    for needed, reader in _READERS:
        if needed <= set(evidence):
            return reader(evidence)
    return ", ".join(f"{plain(name)} {_shown(value)}" for name, value in evidence.items() if value is not None)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else plain(str(value))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g} %"


def _letter(found: Evidence) -> str:
    means = ", ".join(
        f"{_shown(found[name])} on {what}"
        for name, what in (("mean_a", "the letter"), ("mean_b", "words that begin with it"), ("mean_c", "the rest"))
        if found[name] is not None
    )
    return f"the letter explains {_percent(found['variance_reduction'])} of the variance; mean {means}"


def _feature(found: Evidence) -> str:
    token = "the previous token" if found["shift"] == "previous" else "the token"
    said = (
        f"{named(found['feature'])} of {token} explains {_percent(found['variance_reduction'])} of the variance; "
        f"mean {_shown(found['mean_in'])} on {_shown(found['n_in'])} tokens with it, {_shown(found['mean_out'])} on "
        f"{_shown(found['n_out'])} without"
    )
    if found.get("machine_named"):
        said = f"{said}; the topic is machine-named"
    if found.get("runner_up") is None:
        return said
    shift = " of the previous token" if found.get("runner_up_shift") == "previous" else ""
    return f"{said}; next best {named(found['runner_up'])}{shift}, {_percent(found['runner_up_variance_reduction'])}"


def _position(found: Evidence) -> str:
    spans = "; ".join(f"{state} {first}–{last}" for first, last, state in (found.get("runs") or [])[:6])
    return (
        f"{_shown(found['mutual_information'])} nats about the position; {plain(found['strength'])}, "
        f"{_shown(found['alternations'])} alternations, at an extreme on {_percent(found['coverage'])} of the positions"
        f"{f': {plain(spans, spaces=False)}' if spans else ''}"
    )


def _bos(found: Evidence) -> str:
    return (
        f"{_shown(found['bos_activation'])} on BOS, {_shown(found['ratio'])} times the larger of 0.1 and what 99.9 % of other "
        f"tokens do not exceed, {_shown(found['post_p99_9'])}"
    )


def _subset(found: Evidence) -> str:
    return (
        f"the subset {named(found['subset'])} explains {_percent(found['variance_reduction'])} of the variance; mean "
        f"{_shown(found['post_mean'])} on its {_shown(found['n_tokens'])} tokens, {_shown(found.get('overall_mean'))} on all; "
        f"active on {_percent(found['sparsity'])} of them"
    )


def _detector(found: Evidence) -> str:
    kind = {1: "tokens", 2: "bigrams", 3: "trigrams"}.get(found["n"], "n-grams")
    said = (
        f"{_shown(found['cover'])} {kind} cover 95 % of its {_shown(found['activations'])} activations; "
        f"{_shown(found['detected'])} nearly always activate it"
    )
    if found["mean_effect"] is None:
        return said
    does = "suppresses" if found["suppressing"] else "promotes"
    return f"{said}; it {does} them, by {_shown(found['mean_effect'])} logits per unit of activation on average"


def _rare(found: Evidence) -> str:
    tokens, enough = _shown(found["n_tokens"]), _shown(int(found["enough_tokens"]))
    said = f"active on {int(found['activations']):,} of {tokens} tokens"
    if not found["activations"]:
        said = f"active on none of {tokens} tokens, so that its frequency is at most {_shown(found['upper_bound'])} (3/n)"
    return f"{said}; provisional below {enough} tokens"


def _unexplained(found: Evidence) -> str:
    asked = ", ".join(map(named, found["evaluated"])) or "nothing"
    return (
        f"the best feature explains {_percent(found['variance_reduction'])} of the variance; excess correlation "
        f"{_shown(found['excess_corr'])}; what else could explain it and was looked for: {asked}"
    )


_READERS: tuple[tuple[set[str], Callable[[Evidence], str]], ...] = (
    ({"mean_a", "mean_b", "mean_c", "variance_reduction"}, _letter),
    ({"feature", "shift", "variance_reduction", "mean_in", "mean_out", "n_in", "n_out"}, _feature),
    ({"mutual_information", "strength", "alternations", "coverage"}, _position),
    ({"bos_activation", "ratio", "post_p99_9"}, _bos),
    ({"subset", "variance_reduction", "post_mean", "n_tokens", "sparsity"}, _subset),
    ({"n", "cover", "activations", "detected", "mean_effect", "suppressing"}, _detector),
    ({"activations", "n_tokens", "upper_bound", "enough_tokens"}, _rare),
    ({"variance_reduction", "excess_corr", "evaluated"}, _unexplained),
)
"""The names that a reader needs, and the reader."""
