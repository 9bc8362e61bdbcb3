"""GGUF files, pieces of weights and code of others that cannot be used: one sentence each, most before torch is there."""

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.checkpoints.first_looks import check_models
from tests.decoders import tiny_decoder
from tests.factories import tiny_gpt2
from tests.gguf_files import write_gguf

PLAIN = {"attention_bias": False, "mlp_bias": False}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder("llama", tmp_path_factory.mktemp("refused") / "llama", **PLAIN)


def patched(path: Path, name: str, kind: int) -> Path:
    """The file with another quantisation type beside the name of a tensor."""
    content = bytearray(path.read_bytes())
    place = content.index(name.encode()) + len(name)
    (dimensions,) = np.frombuffer(content[place : place + 4], dtype=np.uint32)
    place += 4 + 8 * int(dimensions)
    content[place : place + 4] = np.uint32(kind).tobytes()
    path.write_bytes(content)
    return path


def of_other_types(folder: Path, path: Path) -> Path:
    wide = tiny_decoder("llama", path.parent / "wide", hidden_size=32, **PLAIN)
    return patched(write_gguf(wide, path), "blk.1.ffn_up.weight", int(gguf.GGMLQuantizationType.Q8_1))


def of_unknown_types(folder: Path, path: Path) -> Path:
    return patched(write_gguf(folder, path), "blk.1.ffn_up.weight", 77)


def no_gguf(folder: Path, path: Path) -> Path:
    path.write_text("a letter")
    return path


def empty(folder: Path, path: Path) -> Path:
    path.write_bytes(b"")
    return path


def truncated(folder: Path, path: Path) -> Path:
    path.write_bytes(write_gguf(folder, path).read_bytes()[:-500])
    return path


def truncated_header(folder: Path, path: Path) -> Path:
    path.write_bytes(write_gguf(folder, path).read_bytes()[:3000])
    return path


def of_bert(folder: Path, path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def of_two_widths(folder: Path, path: Path) -> Path:
    return write_gguf(folder, path, of__feed_forward_length=[24, 40])


def of_two_widths_in_tensors(folder: Path, path: Path) -> Path:
    return write_gguf(folder, path, widths={1: 16})


def with_scaled_positions(folder: Path, path: Path) -> Path:
    return write_gguf(folder, path, of__rope__scaling__factor=4.0)


def without_tokenizer(folder: Path, path: Path) -> Path:
    return write_gguf(folder, path, tokenizer__ggml__tokens=None)


def of_few_embeddings(folder: Path, path: Path) -> Path:
    small = tiny_decoder("llama", path.parent / "small", vocab_size=300, **PLAIN)
    return write_gguf(small, path)


def in_pieces(folder: Path, path: Path) -> Path:
    return write_gguf(folder, path, split__count=3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            of_other_types,
            r"m\.gguf holds tensors of quantisation type Q8_1, such as blk\.1\.ffn_up\.weight, which cannot be read",
        ),
        (of_unknown_types, r"holds tensors of quantisation type 77, which is unknown here"),
        (no_gguf, r"m\.gguf ends in \.gguf and is no GGUF file"),
        (empty, r"ends in \.gguf and is no GGUF file"),
        (truncated, r"is damaged or cut short \(.*\); get the whole file"),
        (truncated_header, r"is damaged or cut short \(.*\); get the whole file"),
        (
            of_bert,
            r"is a 'bert' model, an architecture that cannot be read from a GGUF file here; those that can are gemma2, gem",
        ),
        (of_two_widths, r"has 24 neurons in layer 0 and 40 in layer 1 \(d_mlp\), and a model here has as many in every layer"),
        (of_two_widths_in_tensors, r"has 24 neurons in layer 0 and 16 in layer 1 \(d_mlp\)"),
        (with_scaled_positions, r"says llama\.rope\.scaling\.factor, which changes what the model computes and is not read"),
        (without_tokenizer, r"has no tokenizer \(tokenizer\.ggml\.tokens\)"),
        (of_few_embeddings, r"has a tokenizer of ids up to 399 and embeds 300"),
        (in_pieces, r"is one of 3 pieces \(split\.count\)"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_its_header(
    make: Callable[[Path, Path], Path], says: str, llama: Path, tmp_path: Path
) -> None:
    path = make(llama, tmp_path / "m.gguf")
    told = []
    for ask in (lambda: check_models([str(path)], ("weights",), None), lambda: opened(path)):
        with pytest.raises(InputError, match=says) as raised:
            ask()
        told.append(str(raised.value))
    assert told[0] == told[1] and "\n" not in told[0] and told[0].endswith(".")


def opened(path: Path) -> object:
    return open_checkpoint(parse_model_argument(str(path)), torch.device("cpu"))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"without": "blk.1.ffn_up"}, r"lack model\.layers\.1\.mlp\.up_proj\.weight \(1 tensors in all are missing\)"),
        ({"of__block_count": 3}, r"lack model\.layers\.2\.[a-z_.]*weight \(9 tensors in all are missing\)"),
        ({"of__block_count": 1}, r"hold 9 tensors that config\.json has no place for, such as blk\.1\."),
        (
            {"tokenizer__ggml__pre": "hieroglyphs"},
            r"cuts texts as 'hieroglyphs' \(tokenizer\.ggml\.pre\), which is not known here",
        ),
        ({"tokenizer__ggml__model": "rwkv"}, r"the tokenizer of .* cannot be loaded"),
        ({"of__embedding_length": 32}, r"the weights of .* cannot be loaded"),
        ({"of__attention__head_count": 3}, r"hidden size \(16\) is not a multiple of the number of attention heads \(3\)"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_a_file_promises_and_lacks_is_told_when_it_is_read(
    keys: dict[str, object], says: str, llama: Path, tmp_path: Path
) -> None:
    path = write_gguf(llama, tmp_path / "m.gguf", **keys)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=says) as raised:
        opened(path)
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")


def test_tensors_that_a_file_has_beyond_its_architecture_are_refused(tmp_path: Path) -> None:
    """Llama's file has no key for biases: its configuration is made without."""
    folder = tiny_decoder("llama", tmp_path / "m", attention_bias=True, mlp_bias=False)
    with pytest.raises(InputError, match=r"hold 8 tensors that config\.json has no place for, such as blk\.0\.attn_k\.bias"):
        opened(write_gguf(folder, tmp_path / "m.gguf"))


def test_a_file_that_is_not_there_is_told_with_one_of_nearly_its_name(llama: Path, tmp_path: Path) -> None:
    write_gguf(llama, tmp_path / "smollm.gguf")
    with pytest.raises(
        InputError, match=r"there is no file '.*/smolm\.gguf' \(did you mean .*/smollm\.gguf\?\); give a GGUF file"
    ):
        parse_model_argument(str(tmp_path / "smolm.gguf"))


# --- folders ---------------------------------------------------------------------------------------------------------------


def test_a_piece_of_the_weights_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    placed = {name: names[index % 2] for index, name in enumerate(tensors)}
    for piece in names:
        held = {name: tensor for name, tensor in tensors.items() if placed[name] == piece}
        save_file(held, folder / piece, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    check_models([str(folder)], ("weights",), None)
    opened(folder)
    (folder / names[1]).unlink()
    for ask in (lambda: check_models([str(folder)], ("weights",), None), lambda: opened(folder)):
        with pytest.raises(
            InputError, match=rf"m lacks {names[1]} \(1 of the 2 files that model\.safetensors\.index\.json names"
        ):
            ask()
    index.write_text("[]")
    with pytest.raises(InputError, match=r"index\.json cannot be read"):
        check_models([str(folder)], ("weights",), None)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_never_run(file: str, tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    said = json.loads((folder / file).read_text()) | {"auto_map": {"AutoModelForCausalLM": "modeling_own.OwnModel"}}
    (folder / file).write_text(json.dumps(said))
    (folder / "modeling_own.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(
        InputError, match=rf"{file} of .*m names code of its own \(auto_map: modeling_own\.OwnModel\), which is"
    ):
        opened(folder)


def test_a_width_for_each_layer_is_refused(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"n_inner": [24, 40]}))
    with pytest.raises(InputError) as raised:
        opened(folder)
    assert "n_inner [24, 40]" in str(raised.value) or "cannot be loaded" in str(raised.value)
    assert "\n" not in str(raised.value)
