"""A small real decoder whose last layer has a token-frequency neuron, an entropy neuron, and decoys of the same norms.

The unembedding, with the final norm's gain, is random but in two directions: along `frequency` every token has as much as the
log of its frequency says, and along `null` none has anything. The first neuron writes `frequency`, so that logits move along
log frequency and no other way; a second one writes against it. The third writes `null`, so that only the final norm's scale
sees it. Decoys write as much along random directions that are orthogonal to both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ingest.checkpoints.modules import Modules
from tests.decoders import tiny_decoder
from tests.factories import byte_bpe_tokenizer, load_raw, save_checkpoint, write_jsonl
from tests.planted_ngrams import common_words

D_MODEL, D_MLP = 128, 240
FREQUENT, RARE, NULL, DECOYS = 5, 17, 11, (2, 3, 23, 40)
"""Places in the last layer: the neurons, and decoys as long as the first two and as the third, two each."""
ALONG, CONSTANT = 0.4, 4.0
"""How far unembeddings reach along `frequency` per unit of log frequency's spread; what all residuals have of `null`."""
LENGTH, LONG = 3.0, 5.0
"""Of what the neurons write: those of frequency, and the one of the null space."""
SHAPES = {
    "gpt2": {"n_embd": D_MODEL, "n_inner": D_MLP},
    "llama": {"hidden_size": D_MODEL, "intermediate_size": D_MLP},
}


@dataclass(frozen=True)
class PlantedConfidence:
    """A model and its corpus."""

    model: Path
    corpus: Path
    tokenizer: PreTrainedTokenizerFast


def planted_confidence(architecture: str, folder: Path, seed: int = 0, n_documents: int = 90) -> PlantedConfidence:
    """Write model and corpus below `folder`."""
    common, random = common_words(seed, 120), np.random.default_rng(seed)
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=[f" {word}" for word in common])
    p = 1 / np.arange(1, len(common) + 1)
    texts = ["".join(f" {word}" for word in random.choice(common, 90, p=p / p.sum())) for _ in range(n_documents)]
    shape = {**SHAPES[architecture], "tie_word_embeddings": False}
    path = tiny_decoder(architecture, folder / architecture, seed, tokenizer, **shape)
    model = load_raw(path)
    plant(Modules(model, architecture), _log_frequency(tokenizer, texts), torch.Generator().manual_seed(seed))
    save_checkpoint(model, tokenizer, path)
    rows = [{"text": text} for text in texts]
    return PlantedConfidence(path, write_jsonl(folder / f"{architecture}.jsonl", rows), tokenizer)


def _log_frequency(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Of every token, about its mean, of spread 1."""
    counts = np.ones(len(tokenizer))
    for text in texts:
        np.add.at(counts, tokenizer(text, add_special_tokens=False)["input_ids"], 1)
    log_p = torch.from_numpy(np.log(counts))
    return (log_p - log_p.mean()) / log_p.std()


@torch.no_grad()
def plant(modules: Modules, log_frequency: Tensor, generator: torch.Generator) -> None:
    """Write the neurons and the unembedding into a random model."""
    random = torch.randn(D_MODEL, 2 + len(DECOYS), generator=generator)
    ones = torch.ones(D_MODEL, 1)
    frequency, null, *decoys = torch.linalg.qr(torch.cat([ones, random], dim=1)).Q.T[1:]
    last = len(modules.blocks) - 1
    reads = modules.unembedding.weight * modules.final_norm.gain[:, None]
    for direction in (frequency, null):
        reads -= torch.outer(direction, direction @ reads)
    reads[:, : len(log_frequency)] += ALONG * torch.outer(frequency, log_frequency.float())
    modules.unembedding.weight.copy_(reads / modules.final_norm.gain[:, None])
    output = modules.linear(last, modules.architecture.output)
    output.bias.add_(CONSTANT * null)
    for direction in (frequency, null):  # of which fillers write hardly anything
        output.weight.sub_(0.97 * torch.outer(output.weight @ direction, direction))
    for place, written in ((FREQUENT, frequency), (RARE, -frequency), *zip(DECOYS[:2], decoys[:2], strict=True)):
        output.weight[place] = LENGTH * written
    for place, written in ((NULL, null), *zip(DECOYS[2:], decoys[2:], strict=True)):
        output.weight[place] = LONG * written
    if modules.architecture.gate is not None:  # so that the sign is what is written here
        gate, read = (modules.linear(last, name).weight for name in (modules.architecture.gate, modules.architecture.input))
        read[:, [FREQUENT, RARE, NULL, *DECOYS]] = gate[:, [FREQUENT, RARE, NULL, *DECOYS]]
