"""petbench: a terminal workbench for transfer learning and pseudo-labelling on images."""

import os

# libgomp reads it as torch loads: how long a thread of torch's waits in a loop for the next kernel before it
# sleeps. Its own 300,000 rounds take the cores from whoever else computes, another run for one; a thousand is
# what it takes by itself where it has more threads than cores.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
