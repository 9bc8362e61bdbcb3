"""A model read from a file, a folder or the hub, checked, and ready to give activations and processed weights.

`open_checkpoint` reads the raw model, refuses what cannot be used and hashes the weights; that is enough to recognise a
published run. `process` then folds and centres the weights (SPEC §0.2), asserts the invariants, and compares
log-probabilities and activations with the raw model.

Folding changes neither pre nor post: pre = LN(x) W_in + b_in is the same number before and after. The raw model's
forward pass therefore gives the activations. Hooks on the raw model, fused GELU and fused attention took half the time of a
model that is built for hooks.

Gated neurons have post = act(gate·x)·(in·x). Their sign is chance: input and output weights may both change it, and no output
of the model does. So that a sign means something, it is that of gate·in (folded), from the moment that a model is opened.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation

from catalog.aliases import shown
from catalog.errors import InputError
from catalog.lineage import Place, place_of
from catalog.rows import TensorRow
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.behaviour import ModelIdentity, behaviour_of
from ingest.checkpoints.config import head_width, read_config
from ingest.checkpoints.files import load_model, load_tokenizer
from ingest.checkpoints.gguf_file import read_header
from ingest.checkpoints.modules import MlpPass, Modules
from ingest.checkpoints.processing import ProcessedWeights, caps_logits, processed_weights, processing_of
from ingest.checkpoints.signs import apply_sign_rule
from ingest.checkpoints.tensors import hashed_weights


class _Seen(Exception):
    """The last layer that is asked for has been visited."""


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
    drawn_by: str
    """What seeds random draws about it: its identity, of gated neurons that of the model with the signs by the rule, so that
    models that differ in these signs alone are drawn for alike."""
    tensors: list[TensorRow]
    """Of the raw model; empty of a control."""
    place: Place | None
    """In the training that it is a step of, if it is known to be one."""
    model: nn.Module
    weight_processing: str
    quantisation: str | None = None
    """How many tensors a GGUF file stores in each type; None of other checkpoints. `model` has the values they stand for."""
    quantised: list[str] = field(default_factory=list)
    """The types among those that store blocks, no numbers."""
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
    def config(self) -> Any:
        """The model's own, of transformers."""
        return self.model.config

    @property
    def modules(self) -> Modules:
        """Where things are in the raw model."""
        return Modules(self.model, self.architecture)

    @property
    def is_gated(self) -> bool:
        """Whether post is a product of a gate's activation and of what the input weights read."""
        return self.modules.architecture.gate is not None

    @property
    def parallel_attention(self) -> bool:
        """Whether attention and MLP of a layer read the same residual, as Pythia's do."""
        architecture = self.modules.architecture
        one_norm = architecture.mlp_norm is not None and architecture.attention_norm == architecture.mlp_norm
        return one_norm or bool(getattr(self.model.config, "use_parallel_residual", False))

    @torch.inference_mode()
    def visit_mlps(self, tokens: Tensor, visit: Callable[[int, MlpPass], None], last: int | None = None) -> None:
        """Call `visit(layer, its MLP)` as the forward pass reaches each layer; the unembedding is not computed.

        Args:
            tokens: (rows, context) int64, BOS included.
            visit: must not keep what it is shown, fp32.
            last: the last layer that is visited, after which the forward pass ends; None: that of the model.
        """

        def see(layer: int, shown: MlpPass) -> None:
            visit(layer, shown)
            if layer == last and layer < self.n_layers - 1:
                raise _Seen

        watchers = {layer: partial(see, layer) for layer in range(self.n_layers if last is None else last + 1)}
        with self.modules.watched(watchers), suppress(_Seen):
            self.model.base_model(tokens, use_cache=False)  # type: ignore[operator]

    def visit_activations(self, tokens: Tensor, visit: Callable[[int, Tensor, Tensor], None]) -> None:
        """`visit_mlps`, where pre and post are all that is asked for: `visit(layer, pre, post)`."""
        self.visit_mlps(tokens, lambda layer, shown: visit(layer, shown.pre, shown.post))

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
        """Output weights of a layer as the file has them, but for the sign of gated neurons."""
        modules = self.modules
        return modules.linear(layer, modules.architecture.output).weight

    def raw_w_u(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding as the file has it."""
        return self.modules.unembedding.weight

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
    hashed = hashed_weights(model, source)
    identity = ModelIdentity(hashed.sha256, behaviour_of(config, model))
    modules, d_head = Modules(model.eval(), config.model_type), head_width(config)
    d_mlp = len(modules.linear(0, modules.architecture.input).bias)
    _fuse_gelu(modules)
    drawn_by = identity.sha256
    if modules.architecture.gate is not None:
        # on the CPU, so that signs are the same on every device
        apply_sign_rule(modules)
        drawn_by = ModelIdentity(hashed_weights(model, source).sha256, identity.behaviour).sha256
    model = model.to(device)
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
        d_head=d_head,
        d_vocab=config.vocab_size,
        n_ctx=config.max_position_embeddings,
        seed=getattr(config, "seed", None),
        tokenizer=tokenizer,
        identity=identity,
        drawn_by=drawn_by,
        tensors=hashed.tensors,
        place=place_of(source.name, source.revision or "", source.location if source.is_local else ""),
        model=model,
        weight_processing=processing_of(modules.architecture, capped=caps_logits(config)),
        quantisation=None if source.file is None else read_header(source.file).quantisation,
        quantised=[] if source.file is None else read_header(source.file).quantised,
    )


def _fuse_gelu(modules: Modules) -> None:
    """Put torch's tanh GELU, one kernel, where `gelu_new` is spelled out in six: the same function to 4e-7."""
    for block in modules.blocks:
        if isinstance(block.get_submodule(modules.architecture.activation), NewGELUActivation):
            block.set_submodule(modules.architecture.activation, nn.GELU(approximate="tanh"))


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
