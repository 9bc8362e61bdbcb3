"""From checkpoints and a corpus to a published run.

The way of the data, each room standing on those before it:

1. `checkpoints` are opened, checked and folded; `corpus` makes rows of tokens of texts; `features` may explain neurons;
2. `statistics` are sums over tokens, `roles` what neurons do to predictions and heads: mathematics without a database;
3. `settings` say what is asked for, `inputs` are what was opened for it, `remembered` is what need not be opened again;
4. `parts` say how each part is measured: a `LayerMeasure` sums over the corpus layer by layer, a `PairMeasure` over pairs of
   models, a `ModelMeasure` takes one model at a time; `Ground` is what measures stand on together, each made once;
5. `plan` cuts the work into jobs that fit into memory, `jobs` do them, in this process or from a queue;
6. `pipeline` is the main path: recognise, plan, compute, stage, publish; `workers` share its jobs;
7. `preview` says what an ingest would take, `asked` measures what people ask of a published model, `recompute` checks one.

Words (those of `catalog` hold here as well): an item is one piece of work that cannot be divided, a job is a list of items that
one process does in one pass over tokens or weights, a share is a piece of an item of a `ModelMeasure`, a plan is all jobs of a
run. A measure finds arrays; what it leaves are results, and its rows go through staging. Members are the models of a run. To
recognise is to find a published run that has what is asked for; to take over is to copy what an earlier run found.
"""

import os

# Threads that wait for each other by spinning lose hundreds of times what they win as soon as another program wants the
# processor; the library reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
