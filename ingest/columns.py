"""Rows for the catalog as columns: name of a column of the table -> values."""

import numpy as np
from jaxtyping import Int

Columns = dict[str, np.ndarray]
Ids = Int[np.ndarray, " neurons"]
"""Database ids of neurons in flat order."""
