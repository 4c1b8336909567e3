"""For all tests: one thread for torch, as in the workers; two would only wait for each other."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, which no conftest does
