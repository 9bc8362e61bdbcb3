"""Reading-and-writing classes of a gated model, straight from its GGUF file, in float64, by nothing of the catalog's.

    python bench/io_classes_from_file.py FILE.gguf

c1 = cos(in, out), c2 = cos(gate, out), c3 = cos(gate, in) of every neuron, input weights multiplied by the gain of the norm
that they read through. q is the sign of a cosine beyond ±0.5, else 0. The key is (q(c1), |q(c2)|, q(c3) = q(c1) q(c2)), the
third 1 where the first two are 0; in and out change sign together so that c3 is not negative (Gerstner & Schütze 2025).
"""

import sys
from collections import Counter

import numpy as np
from gguf import GGUFReader, dequantize

THRESHOLD = 0.5
CLASSES = {
    (1, 1, 1): "strengthening",
    (1, 1, 0): "atypical strengthening",
    (1, 0, 1): "conditional strengthening",
    (1, 0, 0): "atypical conditional strengthening",
    (0, 1, 1): "proportional change",
    (0, 1, 0): "atypical proportional change",
    (0, 0, 1): "orthogonal",
    (-1, 1, 1): "weakening",
    (-1, 1, 0): "atypical weakening",
    (-1, 0, 1): "conditional weakening",
    (-1, 0, 0): "atypical conditional weakening",
}


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the rows of two matrices."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.einsum("nd,nd->n", one, other) / norms


def quantised(cosine: np.ndarray) -> np.ndarray:
    """-1, 0 or 1."""
    return np.where(np.abs(cosine) > THRESHOLD, np.sign(cosine), 0).astype(int)


def classes_of(gate: np.ndarray, read: np.ndarray, written: np.ndarray) -> list[str]:
    """The class of each neuron of a layer, of its three vectors, a row each."""
    signs = np.where(cosines(gate, read) < 0, -1.0, 1.0)[:, None]
    read, written = read * signs, written * signs
    one, two, three = (quantised(cosines(*pair)) for pair in ((read, written), (gate, written), (gate, read)))
    third = np.where((one == 0) & (two == 0), 1, (three == one * two).astype(int))
    return [CLASSES[int(a), int(b), int(c)] for a, b, c in zip(one, np.abs(two), third, strict=True)]


def main(path: str) -> None:
    """Print how many neurons have each class, with gains folded and as the file has them."""
    held = {tensor.name: tensor for tensor in GGUFReader(path).tensors}

    def values(name: str) -> np.ndarray:
        return dequantize(held[name].data, held[name].tensor_type).astype(np.float64)

    layers = sorted(int(name.split(".")[1]) for name in held if name.endswith("ffn_down.weight"))
    for what in ("folded", "as in the file"):
        totals: Counter[str] = Counter()
        for layer in layers:
            block = f"blk.{layer}"
            gain = values(f"{block}.ffn_norm.weight") if what == "folded" else 1.0
            gate, read = (values(f"{block}.{name}.weight") * gain for name in ("ffn_gate", "ffn_up"))
            totals.update(classes_of(gate, read, values(f"{block}.ffn_down.weight").T))
        print(f"{sum(totals.values()):,} neurons of {len(layers)} layers, gains {what}")
        for name in CLASSES.values():
            print(f"  {name:36} {totals[name]:8,}")


if __name__ == "__main__":
    main(sys.argv[1])
