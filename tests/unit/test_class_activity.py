"""Activity before the tokens of a class, against its plain definition on all tokens at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.roles.class_activity import class_activity
from tests import factories

NEURONS, CLASS_OF = [0, 5, 23, 24, 47, 5], [0, 1, 1, 0, 2, 0]


@pytest.mark.parametrize("batch_tokens", [16, 100, 10_000])
def test_it_equals_the_plain_definition(tmp_path: Path, make_corpus: Any, tokenizer: Any, batch_tokens: int) -> None:
    path = factories.write_jsonl(tmp_path / "texts.jsonl", factories.random_texts(20))
    corpus = make_corpus(path)
    model = open_checkpoint(
        parse_model_argument(str(factories.tiny_gpt2(tmp_path / "model", 0, tokenizer))), torch.device("cpu")
    )
    classes = np.random.default_rng(0).random((3, model.d_vocab)) < 0.3
    classes[2] = False
    rows = np.asarray(corpus.tokens[:40], dtype=np.int64)
    found = class_activity(model, corpus, NEURONS, CLASS_OF, classes, rows.size - 3, batch_tokens, torch.device("cpu"))
    layers = model.mlp_activations(torch.from_numpy(rows))
    pre = torch.cat([own for own, _ in layers], dim=-1).double().numpy()
    kept = corpus.kept_mask(rows)[:, :-1]
    following, values = rows[:, 1:][kept], pre[:, :-1][kept]
    for place, (neuron, number) in enumerate(zip(NEURONS, CLASS_OF, strict=True)):
        inside = classes[number][following]
        own, other = values[inside, neuron], values[~inside, neuron]
        assert (found.n_in[place], found.n_out[place]) == (len(own), len(other))
        assert found.mean_out[place] == pytest.approx(other.mean(), abs=1e-9)
        assert found.freq_out[place] == (other > 0).mean()
        if not len(own):
            assert np.isnan([found.mean_in[place], found.freq_in[place], found.cohen_d[place]]).all()
            continue
        assert found.mean_in[place] == pytest.approx(own.mean(), abs=1e-9)
        assert found.freq_in[place] == (own > 0).mean()
        pooled = np.sqrt((len(own) * own.var() + len(other) * other.var()) / len(values))
        assert found.cohen_d[place] == pytest.approx((own.mean() - other.mean()) / pooled, abs=1e-9)
    assert (found.n_in > 0).sum() == 5
