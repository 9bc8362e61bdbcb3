"""GGUF files: the same model, tokenizer and identity as the folder that a file was written from."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.first_looks import check_models
from ingest.checkpoints.gguf_file import ARCHITECTURES_IN_FILES, read_header
from ingest.corpus.tokenizer import text_encoder, tokenizer_identity
from tests.decoders import tiny_decoder
from tests.factories import load_raw, random_texts
from tests.gguf_files import write_gguf

CPU = torch.device("cpu")
AS_FILES_SAY: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": False, "mlp_bias": False},
    "qwen3": {"attention_bias": False},
    "gemma2": {"query_pre_attn_scalar": 6},
    "gemma3_text": {"query_pre_attn_scalar": 6},
}
"""What a file has no key for, as the converted models have it."""


def opened(path: Path) -> Checkpoint:
    return open_checkpoint(parse_model_argument(str(path)), CPU)


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES_IN_FILES.values()))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf") / request.param
    return tiny_decoder(request.param, folder, **AS_FILES_SAY.get(request.param, {}))


def test_a_file_is_the_model_that_it_was_written_from(folder: Path, tmp_path: Path) -> None:
    own, read = opened(folder), opened(write_gguf(folder, tmp_path / "tiny.Q.gguf"))
    assert read.name == "tiny.Q" and read.source == str(tmp_path / "tiny.Q.gguf")
    assert read.identity.behaviour == own.identity.behaviour
    tolerance = 2e-7 if own.architecture.startswith("gemma") else 0  # gains are stored with 1 added
    for (name, one), (_, other) in zip(own.model.named_parameters(), read.model.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=0, msg=name)
    if not tolerance:
        assert read.identity == own.identity
    tokens = torch.randint(own.d_vocab, (2, 20), generator=torch.Generator().manual_seed(0))
    logits: Any = load_raw(folder)(tokens).logits
    found: Any = read.model(tokens).logits
    torch.testing.assert_close(found, logits, atol=2e-4, rtol=1e-4)
    assert (own.quantisation, read.quantisation) == (None, f"F32 {len(read_header(Path(read.source)).tensors)}")


def test_a_files_tokenizer_is_the_folders(folder: Path, tmp_path: Path) -> None:
    own = PreTrainedTokenizerFast.from_pretrained(folder)
    read = opened(write_gguf(folder, tmp_path / "m.gguf")).tokenizer
    texts = [*random_texts(20), "  two\n\nlines <|endoftext|> 1984 über ☃"]
    assert text_encoder(read)(texts) == text_encoder(own)(texts)
    one, other = tokenizer_identity(own), tokenizer_identity(read)
    assert (one.bos_id, one.eos_id, one.n_tokens) == (other.bos_id, other.eos_id, other.n_tokens)
    assert (one.token_bytes, one.masked_ids) == (other.token_bytes, other.masked_ids)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q4_0", "Q5_1", "F16", "BF16"])
def test_quantised_weights_are_read_as_the_values_they_stand_for(kind: str, tmp_path: Path) -> None:
    import gguf

    folder = tiny_decoder("llama", tmp_path / "m", hidden_size=32, intermediate_size=64, **AS_FILES_SAY["llama"])
    path = write_gguf(folder, tmp_path / "m.gguf", kind)
    read = opened(path)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for layer in range(2):
        held = stored[f"blk.{layer}.ffn_gate.weight"]
        values = torch.from_numpy(gguf.dequantize(held.data, held.tensor_type).copy())
        assert torch.equal(read.modules.linear(layer, "mlp.gate_proj").weight.T, values)
    assert read.quantisation == f"{kind} 16, F32 5"
    assert read.identity.weights_sha256 != opened(folder).identity.weights_sha256


def test_digits_are_cut_as_the_file_says(tmp_path: Path) -> None:
    folder = tiny_decoder("llama", tmp_path / "m", **AS_FILES_SAY["llama"])
    usual = opened(write_gguf(folder, tmp_path / "a.gguf")).tokenizer
    apart = opened(write_gguf(folder, tmp_path / "b.gguf", tokenizer__ggml__pre="smollm")).tokenizer
    cut = [piece for piece, _ in apart.backend_tokenizer.pre_tokenizer.pre_tokenize_str("in 1984 it's x12")]
    assert cut == ["in", "Ġ", "1", "9", "8", "4", "Ġit", "'s", "Ġx", "1", "2"]
    assert tokenizer_identity(usual).sha256 != tokenizer_identity(apart).sha256


def test_what_lies_beside_a_file_is_not_read(tmp_path: Path) -> None:
    folder = tiny_decoder("llama", tmp_path / "m", **AS_FILES_SAY["llama"])
    alone = opened(write_gguf(folder, tmp_path / "m.gguf"))
    other = tiny_decoder("gpt2", tmp_path / "other", seed=3)
    shutil.copy(tmp_path / "m.gguf", other / "m.gguf")
    beside = opened(other / "m.gguf")
    assert beside.identity == alone.identity
    assert tokenizer_identity(beside.tokenizer) == tokenizer_identity(alone.tokenizer)


def test_a_link_keeps_the_name_that_it_was_given(tmp_path: Path) -> None:
    """The hub's cache keeps files without endings."""
    folder = tiny_decoder("llama", tmp_path / "m", **AS_FILES_SAY["llama"])
    write_gguf(folder, tmp_path / "m.gguf").rename(tmp_path / "0123abcd")
    (tmp_path / "small.gguf").symlink_to(tmp_path / "0123abcd")
    (source,) = check_models([str(tmp_path / "small.gguf")], ("weights",), None)
    assert (source.name, source.location, source.is_local) == ("small", str(tmp_path / "small.gguf"), True)
    assert parse_model_argument(f"own={tmp_path}/small.gguf").name == "own"
    assert open_checkpoint(source, CPU).d_mlp == 24
