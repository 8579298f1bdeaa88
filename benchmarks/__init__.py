"""Speed and memory against others: `python -m benchmarks`, from the root of the repository."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler, which watches memory, is chatty
