"""What a label's rule looked at, in words for a person."""

from collections.abc import Callable, Mapping
from typing import Any

Evidence = Mapping[str, Any]


def in_words(evidence: Evidence) -> str:
    """What a rule looked at; what no reader knows comes as names and values."""
    for needed, reader in _READERS:
        if needed <= set(evidence):
            return reader(evidence)
    return ", ".join(f"{name} {_shown(value)}" for name, value in evidence.items() if value is not None)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


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
        f"{found['feature']} of {token} explains {_percent(found['variance_reduction'])} of the variance; "
        f"mean {_shown(found['mean_in'])} on {_shown(found['n_in'])} tokens with it, {_shown(found['mean_out'])} on "
        f"{_shown(found['n_out'])} without"
    )
    if found.get("machine_named"):
        said = f"{said}; the topic is machine-named"
    if found.get("runner_up") is None:
        return said
    shift = " of the previous token" if found.get("runner_up_shift") == "previous" else ""
    return f"{said}; next best {found['runner_up']}{shift}, {_percent(found['runner_up_variance_reduction'])}"


def _position(found: Evidence) -> str:
    spans = "; ".join(f"{state} {first}–{last}" for first, last, state in (found.get("runs") or [])[:6])
    return (
        f"{_shown(found['mutual_information'])} nats about the position; {found['strength']}, "
        f"{_shown(found['alternations'])} alternations, at an extreme on {_percent(found['coverage'])} of the positions"
        f"{f': {spans}' if spans else ''}"
    )


def _bos(found: Evidence) -> str:
    return (
        f"{_shown(found['bos_activation'])} on BOS, {_shown(found['ratio'])} times the larger of 0.1 and what 99.9 % of other "
        f"tokens do not exceed, {_shown(found['post_p99_9'])}"
    )


def _subset(found: Evidence) -> str:
    return (
        f"the subset {found['subset']} explains {_percent(found['variance_reduction'])} of the variance; mean "
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
    asked = ", ".join(found["evaluated"]) or "nothing"
    return (
        f"the best feature explains {_percent(found['variance_reduction'])} of the variance; excess correlation "
        f"{_shown(found['excess_corr'])}; what else could explain it and was looked for: {asked}"
    )


def _signed(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:+.3g}{unit}"


def _prediction(found: Evidence) -> str:
    said = f"kurtosis {_shown(found['vocab_kurt'])} and skewness {_shown(found['vocab_skew'])} over the vocabulary"
    if found["feature"] is None:
        return said
    return (
        f"{said}; {found['feature']} explains {_percent(found['variance_reduction'])} of its effect: "
        f"{_signed(found['mean_difference'])} logits per unit of activation on these tokens (t = {_shown(found['welch_t'])})"
    )


def _entropy(found: Evidence) -> str:
    opposite = f"; the opposite of {found['opposite_of']}" if found.get("opposite_of") else ""
    return (
        f"held at {_shown(found['value'])}, entropy {_signed(found['entropy_delta'], ' nats')} and scale "
        f"{_signed(found['scale_delta'])}, against at most {_shown(found['largest_control'])} nats by {found['controls']} "
        f"controls; loss {_signed(found['loss_delta'])}{opposite}"
    )


def _attention(found: Evidence) -> str:
    said = (
        f"h = {_signed(found['h'])} on head {found['head_layer']}.{found['head']}, by chance at most {_shown(found['chance'])}"
    )
    if found["correlation"] is None:
        return f"{said}; not ablated"
    return (
        f"{said}; without it attention to BOS changes by {_signed(found['delta_p_bos'])} on average, "
        f"correlation with the activation {_signed(found['correlation'])}"
    )


def _duplicate(found: Evidence) -> str:
    out = "" if found["same_partner"] else ", which is another neuron's"
    return (
        f"input weights like those of {found['other_layer']}.{found['other_neuron']}, cosine {_shown(found['in_cosine'])}; "
        f"nearest output weights at {_shown(found['out_cosine'])}{out}"
    )


def _antipodal(found: Evidence) -> str:
    mutual = ", each the other's most opposite" if found["mutual"] else ""
    return f"writes the opposite of {found['other_layer']}.{found['other_neuron']}, cosine {_shown(found['cosine'])}{mutual}"


_READERS: tuple[tuple[set[str], Callable[[Evidence], str]], ...] = (
    ({"vocab_kurt", "vocab_skew", "feature", "mean_difference"}, _prediction),
    ({"entropy_delta", "scale_delta", "largest_control", "controls", "loss_delta"}, _entropy),
    ({"h", "head_layer", "head", "chance", "correlation", "delta_p_bos"}, _attention),
    ({"in_cosine", "out_cosine", "same_partner", "other_layer", "other_neuron"}, _duplicate),
    ({"cosine", "mutual", "other_layer", "other_neuron"}, _antipodal),
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
