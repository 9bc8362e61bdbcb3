"""The pocket tokenizer and the training text as rows of token ids."""

import json
import lzma
import string
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
END = "<|endoftext|>"
SPACED = [f"Ġ{letter}" for letter in string.ascii_letters]
"""␣x and ␣X of every letter as byte-level BPE writes them."""


def texts() -> list[dict[str, str]]:
    """The training documents: `text` and `subset`."""
    with lzma.open(HERE / "corpus" / "train.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def train_tokenizer(at_most: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of at most that many ids.

    x, ␣x, X and ␣X of every letter are ids, and a newline always stands alone. Room is kept for all 52 spaced letters;
    those that BPE found for itself are not added twice, so there are somewhat fewer ids (365 for 384).
    """
    tokenizer = Tokenizer(models.BPE())
    newline = pre_tokenizers.Split(Regex(r"\n"), behavior="isolated")
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([newline, bytes_of_words])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=at_most - len(SPACED),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((d["text"] for d in texts()), trainer)
    return with_merges(tokenizer, SPACED)


def with_merges(tokenizer: Tokenizer, wanted: list[str]) -> PreTrainedTokenizerFast:
    """Append the merges that make the `wanted` two-symbol tokens, where they are missing."""
    state = json.loads(tokenizer.to_str())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    for token in wanted:
        if token not in vocabulary:
            vocabulary[token] = len(vocabulary)
            merges.append([token[0], token[1]])
    rebuilt = Tokenizer.from_str(json.dumps(state))
    return PreTrainedTokenizerFast(tokenizer_object=rebuilt, bos_token=END, eos_token=END, pad_token=END)


def training_rows(tokenizer: PreTrainedTokenizerFast, context: int) -> Tensor:
    """(rows, context) int64, each row a BOS and context-1 tokens of one subset, documents following without a mark."""
    by_subset: dict[str, list[str]] = {}
    for document in texts():
        by_subset.setdefault(document["subset"], []).append(document["text"])
    rows = []
    for documents in by_subset.values():
        stream = [i for ids in tokenizer(documents, add_special_tokens=False)["input_ids"] for i in ids]
        n_rows = len(stream) // (context - 1)
        block = torch.tensor(stream[: n_rows * (context - 1)]).view(n_rows, context - 1)
        rows.append(torch.cat([torch.full((n_rows, 1), tokenizer.bos_token_id), block], dim=1))
    return torch.cat(rows)
