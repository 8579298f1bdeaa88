"""What spatial transformers add to the CNN that reads house numbers: forward and backward passes.

The paper's *Multi*, with four transformers, is "only 6% slower" than its CNN (section 4.2). All
networks have the paper's width, so that they differ in their transformers alone.
"""

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from .. import _machine
from .._files import write_json
from ..experiments.svhn import MODELS, TIGHT, of_the_paper
from .run import checked, limited
from .timing import alternate

_BATCH = 16


def bench(
    *,
    quick: bool = False,
    repeats: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    path: Path | None = None,
) -> str:
    """Time passes in float32 in turn, and return a table.

    Args:
        quick: fewer repeats.
        repeats: timings of every network; 15, or 5 if `quick`.
        threads: of torch.
        device: where they run.
        path: of the results, which are written anew.

    Raises:
        InputError: for less than one repeat or thread, and a device that is not there.

    """
    where, repeats = checked(device, quick, repeats, threads)
    with limited(threads):
        return _bench(where, repeats, path)


def _bench(where: torch.device, repeats: int, path: Path | None) -> str:
    images = torch.rand(_BATCH, 3, TIGHT, TIGHT, device=where)
    networks = {model: of_the_paper(model).to(where).train() for model in MODELS}
    calls = {model: partial(_step, network, images) for model, network in networks.items()}
    seconds = alternate(calls, repeats, where)
    plain = seconds["cnn"]
    rows: list[dict[str, Any]] = [
        {
            "network": model,
            "transformers": MODELS[model],
            "ms": round(1e3 * median(found), 2),
            "ratio": round(median(a / b for a, b in zip(found, plain, strict=True)), 4),
        }
        for model, found in seconds.items()
    ]
    if path is not None:
        facts = {**_machine.facts(where), "batch": _BATCH, "pixels": TIGHT, "repeats": repeats}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**facts, "rows": rows})
    return table({"rows": rows})


def table(found: dict[str, Any]) -> str:
    """Return what each network takes, beside the CNN's."""
    lines = [
        "| network | transformers | both passes (ms) | beside the CNN's |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in found["rows"]:
        more = f"{100 * (row['ratio'] - 1):+.1f} %"
        lines.append(f"| {row['network']} | {row['transformers']} | {row['ms']:.0f} | {more} |")
    return "\n".join(lines)


def _step(network: nn.Module, images: Tensor) -> None:
    network.zero_grad()
    network(images)[0].square().mean().backward()
