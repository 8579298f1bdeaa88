"""Cases small enough to reason about: ours doubles an image by θ, on a clock that tests turn."""

import torch

from spatial_transformers.benchmarks import registry, timing
from spatial_transformers.benchmarks.cases import Case, Contender, always


def double(image, theta):
    return image * theta.sum()


def inputs(device):
    return torch.arange(16.0).reshape(1, 1, 4, 4), torch.tensor([[0.5, 1.5]])


def toy(rival=double, *, name="toy", ours=double, **options):
    rivals = (Contender("other", always(rival), **options),) if rival else ()
    return Case(name, "None", inputs, Contender("ours", always(ours)), rivals, layout="NCHW")


def install(monkeypatch, *cases):
    """Let the registry hold these cases only."""
    found = {"toys": {case.name: case for case in cases}}
    monkeypatch.setattr(registry, "groups", lambda: found)


class Clock:
    """A clock that stands still until a contender turns it."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(timing, "perf_counter", lambda: self.now)

    def taking(self, *seconds):
        """Return a contender whose calls take these seconds, in turn."""
        calls = 0

        def run(image, theta):
            nonlocal calls
            self.now += seconds[calls % len(seconds)]
            calls += 1
            return double(image, theta)

        return run
