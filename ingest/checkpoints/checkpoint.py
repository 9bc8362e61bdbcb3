"""A model read from a folder or the hub, checked, and ready to give activations and processed weights.

`open_checkpoint` reads the raw model, refuses what cannot be used and hashes the weights; that is enough to recognise a
published run. `process` then folds and centres the weights (SPEC §0.2) by TransformerBridge's compatibility mode,
asserts the invariants, and compares log-probabilities and activations with the raw model.

Folding changes neither pre nor post: pre = LN(x) W_in + b_in is the same number before and after. The raw model's
forward pass therefore gives the activations, and `process` asserts on a batch that they are the processed model's. Hooks
on the raw model's nonlinearities, fused GELU and fused attention took half the bridge's time on small GPT-2s.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from catalog.aliases import shown
from catalog.errors import InputError
from catalog.lineage import Place, place_of
from catalog.rows import TensorRow
from ingest.checkpoints.architectures import INPUT, NONLINEARITY, OUTPUT, blocks, nonlinearities
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.behaviour import ModelIdentity, behaviour_of
from ingest.checkpoints.config import read_config
from ingest.checkpoints.files import load_model, load_tokenizer
from ingest.checkpoints.processing import WEIGHT_PROCESSING, ProcessedWeights, processed_weights
from ingest.checkpoints.tensors import tensors_of, weights_sha256


@dataclass
class Checkpoint:
    """One model. Tensors are fp32; `weights` exist after `process`."""

    name: str
    revision: str | None
    source: str
    location: str
    """The source with the revision that was read, whatever the catalog calls the model."""
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
    identity: ModelIdentity
    tensors: list[TensorRow]
    """Of the raw model; empty of a control."""
    place: Place | None
    """In the training that it is a step of, if it is known to be one."""
    model: nn.Module
    weight_processing: str = WEIGHT_PROCESSING
    weights: ProcessedWeights = field(init=False, repr=False)

    @property
    def shown(self) -> str:
        """The name, with the revision if there is one."""
        return shown(self.name, self.revision or "")

    @property
    def is_processed(self) -> bool:
        """Whether `weights` are there."""
        return "weights" in vars(self)

    @property
    def parallel_attention(self) -> bool:
        """Whether attention and MLP of a layer read the same residual, as Pythia's do."""
        return bool(getattr(self.model.config, "use_parallel_residual", False))

    @torch.inference_mode()
    def visit_activations(self, tokens: Tensor, visit: Callable[[int, Tensor, Tensor], None]) -> None:
        """Call `visit(layer, pre, post)` as the forward pass reaches each layer; the unembedding is not computed.

        Args:
            tokens: (rows, context) int64, BOS included.
            visit: takes pre and post, (rows * context, d_mlp) fp32 each, which it must not keep.
        """

        def hook(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                visit(layer, inputs[0].reshape(-1, self.d_mlp), output.reshape(-1, self.d_mlp))

            return seen

        modules = nonlinearities(self.model, self.architecture)
        handles = [module.register_forward_hook(hook(layer)) for layer, module in enumerate(modules)]
        try:
            self.model.base_model(tokens, use_cache=False)  # type: ignore[operator]
        finally:
            for handle in handles:
                handle.remove()

    def mlp_activations(self, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(pre, post) of every layer, each (rows, context, d_mlp) fp32.

        Args:
            tokens: (rows, context) int64, BOS included.
        """
        activations: list[tuple[Tensor, Tensor]] = []
        shape = (*tokens.shape, self.d_mlp)
        self.visit_activations(tokens, lambda _, pre, post: activations.append((pre.reshape(shape), post.reshape(shape))))
        return activations

    def raw_w_out(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """Output weights of a layer as the file has them."""
        module = blocks(self.model, self.architecture)[layer].get_submodule(OUTPUT[self.architecture])
        weight = module.weight
        assert isinstance(weight, Tensor)
        return weight.detach() if isinstance(module, Conv1D) else weight.detach().T

    def raw_w_u(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding as the file has it."""
        weight = self.model.get_output_embeddings().weight  # type: ignore[operator]
        assert isinstance(weight, Tensor)
        return weight.detach().T

    def process(self, n_real_tokens: int) -> None:
        """Fold and centre the weights, assert what must hold of them, and keep the matrices the catalog needs.

        Raises:
            InputError: an invariant fails, or the processed model is another function than the raw one.
        """
        self.weights = processed_weights(self, n_real_tokens)


def open_checkpoint(source: ModelSource, device: torch.device) -> Checkpoint:
    """Read a model and its tokenizer.

    Raises:
        InputError: no checkpoint there, an architecture that cannot be folded, or weights that are not finite.
    """
    config = read_config(source)
    tokenizer = load_tokenizer(source, config.vocab_size)
    model = load_model(source, config)
    tensors = tensors_of(model, source)
    identity = ModelIdentity(weights_sha256(tensors), behaviour_of(config, model))
    model = model.to(device).eval()
    d_mlp = nonlinear_width(model, config.model_type)
    _fuse_gelu(model, config.model_type)
    return Checkpoint(
        name=source.name,
        revision=source.revision,
        source=source.location,
        location=shown(source.location, source.revision or ""),
        architecture=config.model_type,
        activation_function=identity.behaviour["activation_function"],
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        d_mlp=d_mlp,
        n_heads=config.num_attention_heads,
        d_head=config.hidden_size // config.num_attention_heads,
        d_vocab=config.vocab_size,
        n_ctx=config.max_position_embeddings,
        seed=getattr(config, "seed", None),
        tokenizer=tokenizer,
        identity=identity,
        tensors=tensors,
        place=place_of(source.name, source.revision or "", source.location if source.is_local else ""),
        model=model,
    )


def nonlinear_width(model: nn.Module, architecture: str) -> int:
    """d_mlp, read from the bias of the input matrix of the first block."""
    bias = blocks(model, architecture)[0].get_submodule(INPUT[architecture]).bias
    assert isinstance(bias, Tensor)
    return len(bias)


def _fuse_gelu(model: nn.Module, architecture: str) -> None:
    """Put torch's tanh GELU, one kernel, where `gelu_new` is spelled out in six: the same function to 4e-7."""
    for block in blocks(model, architecture):
        if isinstance(block.get_submodule(NONLINEARITY[architecture]), NewGELUActivation):
            block.set_submodule(NONLINEARITY[architecture], nn.GELU(approximate="tanh"))


def check_family(checkpoints: list[Checkpoint], tokenizers: list[str]) -> None:
    """Whether the models can be in one run; what their arguments tell is checked by `ingest.checkpoints.arguments`.

    Args:
        tokenizers: sha256 of each model's tokenizer.
    Raises:
        InputError: one model given twice, or different tokenizers.
    """
    by_sha: dict[str, Checkpoint] = {}
    for checkpoint, tokenizer in zip(checkpoints, tokenizers, strict=True):
        twin = by_sha.setdefault(checkpoint.identity.sha256, checkpoint)
        if twin is not checkpoint:
            raise InputError(f"{twin.location} and {checkpoint.location} are the same model; give each model once.")
        if tokenizer != tokenizers[0]:
            raise InputError(
                f"{checkpoints[0].source} and {checkpoint.source} have different tokenizers, so their activations belong to "
                "different tokens; give models that share one."
            )
