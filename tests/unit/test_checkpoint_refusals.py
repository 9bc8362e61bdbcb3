"""Checkpoints that cannot be used, each refused in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from torch import Tensor

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import check_family
from ingest.corpus.tokenizer import tokenizer_identity
from tests.factories import (
    byte_bpe_tokenizer,
    random_texts,
    tiny_gpt2,
    tiny_opt,
)
from tests.unit.test_checkpoint import opened


@pytest.mark.parametrize("argument", ["{tmp}/absent", "./absent", "../absent/x", "~/absent", "/absent", "a=/absent", "", "a="])
def test_a_path_that_is_not_there_is_refused_at_once(argument: str, tmp_path: Path, no_network: None) -> None:
    with pytest.raises(InputError, match=r"there is no folder|has no location"):
        parse_model_argument(argument.format(tmp=tmp_path))


def test_a_name_beside_an_existing_folder_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no folder 'models/absent'"):
        parse_model_argument("models/absent")
    with pytest.raises(InputError, match="is a folder and has no revision 'main'"):
        parse_model_argument("models@main")


def test_names_and_revisions_are_read_from_the_argument(tmp_path: Path) -> None:
    hub = parse_model_argument("small=owner/gpt2-x21@step-100")
    assert (hub.name, hub.location, hub.revision, hub.is_local) == ("small", "owner/gpt2-x21", "step-100", False)
    assert parse_model_argument("owner/gpt2-x21").name == "gpt2-x21"
    local = parse_model_argument(f"b={tmp_path}")
    assert (local.name, local.location, local.revision, local.is_local) == ("b", str(tmp_path), None, True)


def damage_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def damage_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def damage_truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def damage_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)


def damage_missing_tensor(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.weight"))


def damage_shape(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({"transformer.h.1.mlp.c_fc.weight": torch.zeros(3, 3)}))


def damage_nan(folder: Path) -> None:
    edit(folder, lambda tensors: tensors["transformer.h.1.mlp.c_fc.weight"][0].fill_(float("nan")))


def damage_infinity(folder: Path) -> None:
    edit(folder, lambda tensors: tensors["transformer.h.0.ln_1.bias"][0].fill_(float("inf")))


def damage_no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def damage_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")


def damage_small_vocabulary(folder: Path) -> None:
    byte_bpe_tokenizer(folder, vocab_size=500)


def damage_spelling(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt-neox"}))


def damage_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))


def edit(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_no_config, "no config.json"),
        (damage_config, "cannot be read"),
        (damage_no_weights, "weights of .* cannot be loaded"),
        (damage_truncated, "weights of .* cannot be loaded"),
        (damage_header, "weights of .* cannot be loaded"),
        (damage_missing_tensor, r"lack transformer.h.1.mlp.c_fc.weight"),
        (damage_shape, "weights of .* cannot be loaded"),
        (damage_nan, r"not finite in transformer.h.1.mlp.c_fc.weight"),
        (damage_infinity, r"not finite in transformer.h.0.ln_1.bias"),
        (damage_no_tokenizer, "has no tokenizer"),
        (damage_tokenizer, "tokenizer of .* cannot be loaded"),
        (damage_small_vocabulary, "has ids up to 499 and the model embeds 407"),
        (damage_architecture, "'bert' model, an architecture without description here; those that work are gemma2, .*qwen3"),
        (damage_spelling, r"'gpt-neox' model, .* \(did you mean gpt_neox\?\); those that work are"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(damage: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "m")
    damage(folder)
    with pytest.raises(InputError, match=says) as raised:
        opened(folder)
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")


def test_an_empty_folder_and_a_file_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match=r"is no checkpoint, it has no config\.json"):
            opened(path)


def test_opt_350m_is_refused_for_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="normalises after each block"):
        opened(tiny_opt(tmp_path / "post", do_layer_norm_before=False))
    with pytest.raises(InputError, match="projects its embeddings"):
        opened(tiny_opt(tmp_path / "projected", word_embed_proj_dim=8))


def test_a_family_has_different_weights_and_one_tokenizer(tmp_path: Path) -> None:
    a, b = opened(tiny_gpt2(tmp_path / "a")), opened(tiny_gpt2(tmp_path / "b", seed=1, n_layers=3, d_mlp=40))
    shutil.copytree(tmp_path / "a", tmp_path / "twin")
    twin = opened(tmp_path / "twin")
    check_family([a, b], ["x", "x"])
    check_family([a], ["x"])
    for checkpoints, tokenizers, says in (
        ([a, twin], ["x", "x"], "are the same model"),
        ([a, b], ["x", "y"], "different tokenizers"),
    ):
        with pytest.raises(InputError, match=says):
            check_family(checkpoints, tokenizers)


@pytest.mark.parametrize("change", ["vocabulary", "normalizer"])
def test_tokenizers_that_differ_are_seen(change: str, tmp_path: Path) -> None:
    other = byte_bpe_tokenizer(texts=random_texts(seed=5 if change == "vocabulary" else 0))
    if change == "normalizer":
        other.backend_tokenizer.normalizer = normalizers.Lowercase()
    first = opened(tiny_gpt2(tmp_path / "a"))
    second = opened(tiny_gpt2(tmp_path / "b", seed=1, tokenizer=other))
    with pytest.raises(InputError, match="different tokenizers"):
        check_family([first, second], [tokenizer_identity(c.tokenizer).sha256 for c in (first, second)])
