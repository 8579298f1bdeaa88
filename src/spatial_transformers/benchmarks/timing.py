"""Time of calls, in turn, and the floor under it: a copy of as many bytes."""

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import torch

from .cases import BOTH

#: One timing lasts at least so long (s): shorter calls are repeated within it.
SHORTEST = {"cpu": 1e-3, "cuda": 5e-3}


def alternate(
    calls: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Return seconds per call of every contender, timed in turn: a busy machine slows them all."""
    counts = {name: _count(call, device) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            seconds[name].append(clock(call, counts[name], device) / counts[name])
    return seconds


def clock(call: Callable[[], Any], count: int, device: torch.device) -> float:
    """Return the seconds that `count` calls in a row take, until the device has done them."""
    _synchronise(device)
    start = perf_counter()
    for _ in range(count):
        call()
    _synchronise(device)
    return perf_counter() - start


def copies(given: int, result: int, passes: str, device: torch.device) -> Callable[[], Any]:
    """Return a call that moves the bytes that no implementation can avoid, by plain copies.

    Forward reads what is given and writes the result: a copy of half the sum reads and writes as
    much. Backward reads the result's gradient and what was given, and writes the latter's gradient.
    """
    sizes = [given + result, 2 * given + result] if passes == BOTH else [given + result]
    blocks = [torch.ones(-(-size // 2), dtype=torch.uint8, device=device) for size in sizes]
    return lambda: [block.clone() for block in blocks]


def _count(call: Callable[[], Any], device: torch.device) -> int:
    """Return how many calls make one timing."""
    count, least = 1, SHORTEST.get(device.type, 1e-3)
    while count < 10_000 and (seconds := clock(call, count, device)) < least:
        count = min(10_000, max(2 * count, math.ceil(1.2 * count * least / max(seconds, 1e-9))))
    return count


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
