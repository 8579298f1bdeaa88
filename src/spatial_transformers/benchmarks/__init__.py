"""Speed and memory against others, which must first give the same result: `stn bench`."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler, which watches memory, is chatty
