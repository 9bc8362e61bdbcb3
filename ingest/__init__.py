"""From checkpoints and a corpus to a published run."""

import os

# Threads that wait for each other by spinning lose hundreds of times what they win as soon as another program wants the
# processor; the library reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
