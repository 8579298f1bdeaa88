"""Peak memory of a call, beyond what it returns."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def watched(
    call: Callable[[], tuple[Tensor, ...]], device: torch.device
) -> tuple[tuple[Tensor, ...], float]:
    """Call once; return the results, and the most MiB that torch held beyond them on the way."""
    result, peak = (_on_cuda if device.type == "cuda" else _on_cpu)(call, device)
    blocks = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in result}
    return result, max(0.0, (peak - sum(blocks.values())) / 2**20)


def _on_cuda(call: Callable[[], Any], device: torch.device) -> tuple[Any, int]:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = call()
    torch.cuda.synchronize(device)
    return result, torch.cuda.max_memory_allocated(device) - before


def _on_cpu(call: Callable[[], Any], device: torch.device) -> tuple[Any, int]:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = call()
    events: list[Any] = profiled.profiler.kineto_results.events()  # pyright: ignore
    memory = [event for event in events if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(memory, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return result, peak
