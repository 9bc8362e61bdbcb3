"""What a model's configuration makes it compute: the half of a model's identity that its tensors do not hold.

Equal tensors are different functions under another activation, another number of heads or another rotary base.
`Architecture.reads` says which attribute of a loaded configuration (old and new names of a key are one attribute there) holds
what its forward pass reads, by the catalog's names; nothing else of the catalog decides it. A test changes every key of every
configuration: the outputs stay equal bit by bit, or the identity changes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.checkpoints.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from torch import nn

@dataclass(frozen=True)
class ModelIdentity:
    """What makes two models the same, whatever they are called and wherever they were read from."""

    weights_sha256: str
    """Over names, shapes and fp32 bytes of all parameters."""
    behaviour: dict[str, Any]
    """What the configuration decides, by the names of `Architecture.reads`, plain JSON."""

    @property
    def sha256(self) -> str:
        """Over weights and behaviour."""
        content = json.dumps([self.weights_sha256, self.behaviour], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def behaviour_of(config: Any, model: "nn.Module") -> dict[str, Any]:
    """What the configuration makes the model compute.

    Args:
        config: a configuration of transformers, of one of the described architectures.
        model: the loaded model, which knows whether its unembedding is tied to its embedding.
    """
    behaviour = {name: _plain(getattr(config, key, None)) for name, key in ARCHITECTURES[config.model_type].reads.items()}
    if behaviour["d_mlp"] is None:
        behaviour["d_mlp"] = 4 * behaviour["d_model"]
    behaviour["causal"] = behaviour["causal"] is not False
    embedding, unembedding = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[operator]
    return {"architecture": config.model_type, **behaviour, "tied_embeddings": unembedding.weight is embedding.weight}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In words, what the first behaviour has otherwise than the other; empty if nothing."""
    names = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {_shown(one.get(name))}, not {_shown(other.get(name))}" for name in names)


def changed(identity: ModelIdentity, weights_sha256: str, behaviour: Mapping[str, Any]) -> str:
    """In words, what a model is otherwise than the one with these weights and this behaviour."""
    weights = "other weights" if identity.weights_sha256 != weights_sha256 else ""
    return " and ".join(part for part in (weights, difference(identity.behaviour, behaviour)) if part)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    """The value as JSON, the same however its number was written: 10000 and 1e4 are one."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in sorted(value.items()) if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
