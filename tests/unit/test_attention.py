"""Attention from processed weights is the model's own; what heads write from tokens and from BOS (SPEC §9.2)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.roles.attention import causal_mask, layer_attention, rotation, score_scale, squared_norm, visit_attention
from ingest.roles.bos_norms import bos_norm_ratio, folded_value_bias
from ingest.roles.heads import Pair, check_head, check_pair
from tests.factories import tiny_gpt2
from tests.raw_attention import BOS, MODELS, N_HEADS, N_LAYERS, RawModel, processed, random_corpus, random_tokens

CONTEXT = 11
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=list(MODELS))
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, RawModel]:
    make, config = MODELS[request.param]
    folder: Path = make(tmp_path_factory.mktemp("attention") / "model", n_layers=N_LAYERS, **config)
    return processed(folder), RawModel(folder)


def test_patterns_are_those_of_eager_attention(models: tuple[Checkpoint, RawModel]) -> None:
    checkpoint, raw = models
    tokens = torch.from_numpy(random_tokens(4, CONTEXT))
    expected = raw.eager_patterns(tokens)
    turn, seen = rotation(checkpoint, CONTEXT), []

    def enter(layer: int, residual: torch.Tensor) -> None:
        attention = layer_attention(checkpoint, layer, turn)
        own = attention.norm.centre(residual)
        divisor = attention.scale_of(squared_norm(own))
        normalised = own / divisor[..., None].float()
        for head in range(N_HEADS):
            for first in (0, 4):
                queries = attention.queries((own @ attention.W_Q[head])[:, first:], divisor[:, first:], head, first)
                pattern = attention.pattern(queries, attention.keys(normalised, head), causal_mask(CONTEXT, first, CPU))
                torch.testing.assert_close(pattern.double(), expected[layer][:, head, first:], atol=1e-5, rtol=0)
        seen.append(layer)

    visit_attention(checkpoint, tokens, enter)
    assert seen == list(range(N_LAYERS))
    assert not any(block._forward_pre_hooks for block in checkpoint.model.modules())


@pytest.mark.parametrize(
    "config", [{}, {"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}], ids=["usual", "by layer", "not"]
)
def test_scores_are_scaled_as_the_model_scales_them(tmp_path: Path, config: dict[str, bool]) -> None:
    folder = tiny_gpt2(tmp_path, n_layers=N_LAYERS, **config)
    checkpoint, raw = open_checkpoint(parse_model_argument(str(folder)), CPU), RawModel(folder)
    assert [score_scale(checkpoint, layer) for layer in range(N_LAYERS)] == [raw.scale(layer) for layer in range(N_LAYERS)]


def test_value_bias_is_what_values_have_where_the_input_is_zero(models: tuple[Checkpoint, RawModel]) -> None:
    checkpoint, raw = models
    for layer in range(N_LAYERS):
        # raw values of two inputs and of their mean: the value map is affine, processed W_V is its linear part
        x = torch.randn(1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(layer))
        norm = raw.norm(layer)
        own = raw.project(layer, norm(x))[2][0].detach()
        unit = (norm(x) - getattr(norm, "bias", 0))[0] / norm.weight
        linear = torch.einsum("d,hde->he", unit, checkpoint.weights.W_V[layer].double())
        torch.testing.assert_close(linear + folded_value_bias(checkpoint, layer).double(), own, atol=1e-5, rtol=1e-5)
        assert folded_value_bias(checkpoint, layer).abs().min() > 0


@pytest.mark.parametrize("batch_tokens", [1, 40, 10**6])
def test_ratio_of_norms_is_its_definition(models: tuple[Checkpoint, RawModel], batch_tokens: int) -> None:
    checkpoint, raw = models
    tokens = random_tokens(9, CONTEXT)
    corpus = random_corpus(tokens)
    done: list[int] = []
    found = bos_norm_ratio(checkpoint, corpus, BOS, 7 * CONTEXT - 3, batch_tokens, CPU, done.append)
    rows = torch.from_numpy(tokens[:7])
    kept = ~np.isin(tokens[:7], [BOS, 5])
    assert found.n_tokens == kept.sum() and sum(done) == rows.numel()
    bos = raw.residuals(torch.tensor([[BOS]]))
    for layer, residual in enumerate(raw.residuals(rows)):
        for with_bias, ratio in ((False, found.ratio), (True, found.ratio_with_bias)):
            norms = []
            for x in (residual[torch.from_numpy(kept)], bos[layer][0]):
                values = raw.project(layer, raw.norm(layer)(x))[2] - (0 if with_bias else raw.value_bias(layer))
                norms.append(torch.einsum("thd,hde->the", values, raw.w_o(layer)).norm(dim=-1).mean(0).detach())
            torch.testing.assert_close(ratio[layer], norms[0] / norms[1], rtol=1e-5, atol=0)


def test_ratio_is_undefined_where_bos_gives_nothing(tmp_path: Path) -> None:
    make, config = MODELS["opt"]
    checkpoint = processed(make(tmp_path / "model", n_layers=2, **config))
    checkpoint.weights.W_V[1, 0] = 0
    corpus = random_corpus(random_tokens(3, CONTEXT))
    found = bos_norm_ratio(checkpoint, corpus, BOS, 100, 100, CPU)
    assert found.ratio.isnan().nonzero().tolist() == [[1, 0]]
    nothing = bos_norm_ratio(checkpoint, random_corpus(np.full((2, CONTEXT), BOS)), BOS, 100, 100, CPU)
    assert nothing.n_tokens == 0 and nothing.ratio.isnan().all() and nothing.ratio_with_bias.isnan().all()


def test_heads_that_the_model_does_not_have_are_refused() -> None:
    check_head(3, 2, 2, 1)
    for layer, head, words in (
        (3, 0, "layers 0 to 2"),
        (-1, 0, "layers 0 to 2"),
        (0, 2, "heads 0 to 1"),
        (0, -1, "heads 0 to 1"),
    ):
        with pytest.raises(ValueError, match=words):
            check_head(3, 2, layer, head)


@pytest.mark.parametrize(
    ("pair", "parallel", "words"),
    [
        (Pair(0, 0, 0, 0), False, "comes before its MLP; give a head of layers 1 to 2"),
        (Pair(0, 0, 0, 0), True, "comes beside its MLP; give a head of layers 1 to 2"),
        (Pair(1, 0, 0, 0), False, "give a head of layer 2"),
        (Pair(2, 0, 2, 0), False, "the last layer, after which no attention comes"),
        (Pair(3, 0, 2, 0), False, r"no neuron 3\.0; layers are 0 to 2"),
        (Pair(0, 24, 2, 0), False, r"no neuron 0\.24; .* neurons 0 to 23"),
        (Pair(0, 0, 3, 0), False, "no attention layer 3"),
        (Pair(0, 0, 1, 2), False, "no head 2"),
    ],
)
def test_pairs_without_a_path_are_refused(pair: Pair, parallel: bool, words: str) -> None:
    check_pair(3, 24, 2, Pair(0, 23, 2, 1), parallel)
    with pytest.raises(ValueError, match=words):
        check_pair(3, 24, 2, pair, parallel)
