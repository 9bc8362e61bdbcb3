"""A model read from a folder or the hub, checked, and ready to give activations and processed weights.

`open_checkpoint` reads the raw model, refuses what cannot be used and hashes the weights; that is enough to recognise a
published run. `process` then folds and centres the weights (SPEC §0.2) by TransformerBridge's compatibility mode,
asserts the invariants, and compares log-probabilities and activations with the raw model.

Folding changes neither pre nor post: pre = LN(x) W_in + b_in is the same number before and after. The raw model's
forward pass, measured three times quicker than the bridge's, therefore gives the activations, and `process` asserts on a
batch that they are the processed model's.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from catalog.errors import InputError

WEIGHT_PROCESSING = "fold_ln, center_writing_weights, center_unembed, fold_value_biases"
INVARIANT_TOLERANCE = 1e-5
"""Largest mean, relative to the largest weight of the matrix, that counts as zero in fp32."""
LOG_PROBABILITY_TOLERANCE = 1e-4
CHECK_ROWS, CHECK_LENGTH = 2, 32

LAYERS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "opt": "model.decoder.layers"}
"""Where each architecture keeps its blocks."""
NONLINEARITY = {"gpt2": "mlp.act", "gpt_neox": "mlp.act", "opt": "activation_fn"}
"""The module of a block whose input is pre and whose output is post."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model is, as given on the command line: [NAME=]LOCATION[@REVISION]."""

    name: str
    location: str
    revision: str | None
    is_local: bool


def parse_model_argument(argument: str) -> ModelSource:
    """Split an argument into name, location and revision; the name defaults to the location's last part.

    Raises:
        InputError: nothing is left of the argument, or it is a path where nothing is.
    """
    name, equals, location = argument.partition("=")
    if not equals or "/" in name or not name:
        name, location = "", argument
    if Path(location).expanduser().exists():
        folder = Path(location).expanduser().resolve()
        return ModelSource(name or folder.name, str(folder), None, True)
    location, _, revision = location.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", location) or location.startswith("."):
        raise InputError(f"there is no folder {location!r}; give the folder of a checkpoint, or a hub name as OWNER/NAME.")
    if Path(location).parts[0] != location and Path(Path(location).parts[0]).is_dir():
        raise InputError(f"there is no folder {location!r}; give the folder of a checkpoint, or a hub name as OWNER/NAME.")
    return ModelSource(name or location.rsplit("/", 1)[-1], location, revision or None, False)


@dataclass
class Checkpoint:
    """One model. Tensors are fp32; `W_…` exist after `process`."""

    name: str
    revision: str | None
    source: str
    architecture: str
    activation_function: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    d_head: int
    d_vocab: int
    n_ctx: int
    seed: int | None
    tokenizer: PreTrainedTokenizerBase
    weights_sha256: str
    model: nn.Module
    weight_processing: str = WEIGHT_PROCESSING
    W_in: Float[Tensor, "layers d_model d_mlp"] = field(init=False, repr=False)
    b_in: Float[Tensor, "layers d_mlp"] = field(init=False, repr=False)
    W_out: Float[Tensor, "layers d_mlp d_model"] = field(init=False, repr=False)
    W_U: Float[Tensor, "d_model d_vocab"] = field(init=False, repr=False)

    @torch.inference_mode()
    def mlp_activations(self, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(pre, post) of every layer, each (rows, context, d_mlp) fp32; the unembedding is not computed.

        Args:
            tokens: (rows, context) int64, BOS included.
        """
        found: list[tuple[Tensor, Tensor]] = []
        shape = (*tokens.shape, self.d_mlp)

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found.append((inputs[0].reshape(shape), output.reshape(shape)))

        handles = [module.register_forward_hook(keep) for module in nonlinearities(self.model, self.architecture)]
        try:
            self.model.base_model(tokens, use_cache=False)  # type: ignore[operator]
        finally:
            for handle in handles:
                handle.remove()
        return found

    def process(self, n_real_tokens: int) -> None:
        """Fold and centre the weights, assert what must hold of them, and keep the matrices the catalog needs.

        Raises:
            InputError: an invariant fails, or the processed model is another function than the raw one.
        """
        from ingest.processing import processed_weights

        weights = processed_weights(self, n_real_tokens)
        self.W_in, self.b_in, self.W_out, self.W_U = weights


def nonlinearities(model: nn.Module, architecture: str) -> list[nn.Module]:
    """The activation modules of all blocks, in order."""
    return [block.get_submodule(NONLINEARITY[architecture]) for block in model.get_submodule(LAYERS[architecture]).children()]


def open_checkpoint(source: ModelSource, device: torch.device) -> Checkpoint:
    """Read a model and its tokenizer.

    Raises:
        InputError: no checkpoint there, an architecture that cannot be folded, or weights that are not finite.
    """
    config = _config(source)
    _refuse_unsupported(source, config)
    tokenizer = _load(source, "tokenizer", AutoTokenizer.from_pretrained)
    model = _load(source, "weights", AutoModelForCausalLM.from_pretrained, dtype="auto", attn_implementation="eager")
    sha256 = weights_sha256(model, source)
    model = model.float().to(device).eval()
    d_mlp = nonlinear_width(model, config.model_type)
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"the tokenizer of {source.location} has {len(tokenizer)} ids and the model embeds only {config.vocab_size}; "
            "use the tokenizer that the model was trained with."
        )
    return Checkpoint(
        name=source.name,
        revision=source.revision,
        source=source.location,
        architecture=config.model_type,
        activation_function=getattr(config, "activation_function", None) or config.hidden_act,
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        d_mlp=d_mlp,
        n_heads=config.num_attention_heads,
        d_head=config.hidden_size // config.num_attention_heads,
        d_vocab=config.vocab_size,
        n_ctx=config.max_position_embeddings,
        seed=getattr(config, "seed", None),
        tokenizer=tokenizer,
        weights_sha256=sha256,
        model=model,
    )


def nonlinear_width(model: nn.Module, architecture: str) -> int:
    """d_mlp, read from the bias of the input matrix of the first block."""
    block = model.get_submodule(LAYERS[architecture])[0]  # type: ignore[index]
    name = {"gpt2": "mlp.c_fc", "gpt_neox": "mlp.dense_h_to_4h", "opt": "fc1"}[architecture]
    return int(block.get_submodule(name).bias.shape[0])


def weights_sha256(model: nn.Module, source: ModelSource) -> str:
    """sha256 over names, dtypes, shapes and bytes of all parameters, tied ones once; independent of the file layout.

    Raises:
        InputError: a parameter holds NaN or infinity; the sentence names it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters(), key=lambda item: item[0]):
        values = tensor.detach().contiguous()
        if not torch.isfinite(values).all():
            raise InputError(f"the weights of {source.location} are not finite in {name}; get an undamaged checkpoint.")
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_family(checkpoints: list[Checkpoint], weights_only: bool, tokenizers: list[str]) -> None:
    """Whether the models can be compared.

    Args:
        tokenizers: sha256 of each model's tokenizer.
    Raises:
        InputError: fewer than two models, one given twice, two of one name, or different tokenizers.
    """
    if len(checkpoints) < 2 and not weights_only:
        raise InputError("correlations need at least two models; give more of them, or --only weights.")
    by_sha: dict[str, Checkpoint] = {}
    by_name: dict[tuple[str, str | None], Checkpoint] = {}
    for checkpoint, tokenizer in zip(checkpoints, tokenizers, strict=True):
        twin = by_sha.setdefault(checkpoint.weights_sha256, checkpoint)
        if twin is not checkpoint:
            raise InputError(f"{twin.source} and {checkpoint.source} are the same model; give each model once.")
        twin = by_name.setdefault((checkpoint.name, checkpoint.revision), checkpoint)
        if twin is not checkpoint:
            raise InputError(
                f"{twin.source} and {checkpoint.source} are both named {checkpoint.name!r}; rename one as "
                f"NEWNAME={checkpoint.source}."
            )
        if tokenizer != tokenizers[0]:
            raise InputError(
                f"{checkpoints[0].source} and {checkpoint.source} have different tokenizers, so their activations belong to "
                "different tokens; give models that share one."
            )


def _config(source: ModelSource) -> Any:
    if source.is_local:
        path = Path(source.location) / "config.json"
        if not path.is_file():
            raise InputError(f"{source.location} is no checkpoint, it has no config.json; give a Hugging Face model folder.")
        try:
            json.loads(path.read_text())
        except (ValueError, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}); get an undamaged checkpoint.") from None
    return _load(source, "configuration", AutoConfig.from_pretrained)


def _load(source: ModelSource, what: str, loader: Any, **options: Any) -> Any:
    """Call a from_pretrained; everything that it raises about files becomes one sentence."""
    from safetensors import SafetensorError

    arguments: dict[str, Any] = {"revision": source.revision} if source.revision else {}
    if source.is_local:
        arguments["local_files_only"] = True
    try:
        return loader(source.location, **arguments, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the {what} of {source.location} cannot be loaded ({reason}); give a complete Hugging Face checkpoint."
        ) from error


def _refuse_unsupported(source: ModelSource, config: Any) -> None:
    if config.model_type not in LAYERS:
        raise InputError(f"{source.location} is a {config.model_type!r} model; those that work are {', '.join(LAYERS)}.")
    if config.model_type == "opt" and not getattr(config, "do_layer_norm_before", True):
        raise InputError(
            f"{source.location} normalises after each block (do_layer_norm_before is false), so its layer norms cannot be "
            "folded into the weights; give a model with pre-layer-norm."
        )
    if config.model_type == "opt" and config.word_embed_proj_dim != config.hidden_size:
        raise InputError(
            f"{source.location} projects its embeddings (word_embed_proj_dim differs from hidden_size), so its unembedding "
            "cannot be folded; give a model without a projection."
        )
