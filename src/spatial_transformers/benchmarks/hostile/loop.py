"""One run: a user's own training loop, then what came of it."""

import time
import warnings
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ... import SpatialTransformer as Transformer
from ...protection.measures import local_scale, outside
from .images import Images
from .networks import Network
from .setups import Setup

_BATCH = 500  # samples that are scored at a time


def train(setup: Setup, variant: str, seed: int, images: Images, epochs: int) -> dict[str, Any]:
    """Train one network, and return its error in percent, and what its grids do on the test set."""
    torch.manual_seed(seed)
    images = _normalised(images) if setup.normalised else images
    shape = tuple(images.train.shape[1:])
    network = Network(setup, variant, shape, images.classes)
    optimiser = _optimiser(setup, network)
    started, finite = time.monotonic(), True
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(epochs):
            finite = finite and _epoch(network, optimiser, setup, images)
    return {
        "case": setup.name,
        "pass": f"{variant}/{seed}",
        "variant": variant,
        "seed": seed,
        "finite": finite,
        "warnings": sorted({str(w.message)[:200] for w in said}),
        "seconds": round(time.monotonic() - started, 1),
        **_score(network.eval(), images),
    }


def _optimiser(setup: Setup, network: nn.Module) -> torch.optim.Optimizer:
    if setup.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=setup.rate)
    return torch.optim.SGD(network.parameters(), lr=setup.rate, momentum=0.9)


def _epoch(
    network: Network, optimiser: torch.optim.Optimizer, setup: Setup, images: Images
) -> bool:
    """Take the steps of an epoch; say whether all losses were finite."""
    network.train()
    for numbers in torch.randperm(len(images.train)).split(setup.batch):
        if len(numbers) < 2:  # which batch normalisation refuses
            continue
        with torch.autocast("cpu", torch.bfloat16, enabled=setup.bfloat16):
            logits, _ = network(images.train[numbers])
        loss = F.cross_entropy(logits.float(), images.train_labels[numbers])
        if not loss.isfinite():
            return False
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return True


def _normalised(images: Images) -> Images:
    """Return the images by the mean and the standard deviation of those to train on."""
    mean, std = images.train.mean(), images.train.std()
    return replace(images, train=(images.train - mean) / std, test=(images.test - mean) / std)


@torch.no_grad()
def _score(network: Network, images: Images) -> dict[str, Any]:
    wrong, inside, scales = 0, [], []
    for numbers in torch.arange(len(images.test)).split(_BATCH):
        logits, thetas = network(images.test[numbers])
        wrong += int((logits.argmax(1) != images.test_labels[numbers]).sum())
        families = [m.transformation for m in network.modules() if isinstance(m, Transformer)]
        pairs = list(zip(families, thetas, strict=True))
        inside.append(torch.stack([1 - outside(*p) for p in pairs]) if pairs else torch.ones(1, 1))
        scales.append(torch.stack([local_scale(*p) for p in pairs]) if pairs else torch.ones(1, 1))
    return {
        "error": round(100 * wrong / len(images.test), 2),
        # of the transformer that is worst off
        "inside": round(torch.cat(inside, 1).mean(1).min().item(), 3),
        "scales": [round(s, 3) for s in torch.cat(scales, 1).nanmedian(1).values.tolist()],
    }
