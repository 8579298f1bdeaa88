"""The same short training by the reference and by each fused backend ends at the same loss."""

import pytest
import torch
import torch.nn.functional as F

from spatial_transformers import (
    Affine,
    LocalisationCNN,
    Sampler,
    SpatialTransformer,
    ThinPlateSpline,
)
from spatial_transformers.experiments.data.digits import shipped
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.rotated_digits import DISTORTIONS, SIZE
from spatial_transformers.sampler.backends import BACKENDS
from spatial_transformers.sampler.backends.fused import Fused

FUSED = [b.name for b in BACKENDS if isinstance(b, Fused) and b.device == "cpu" and not b.missing]
STEPS, BATCH = 25, 64
# Losses begin at 2.3. Sums round in another order, and steps enlarge what they differ by, until in
# float32 a sample falls on the other side of a kink.
CASES = [
    (Affine, torch.float64, 1e-12),
    (Affine, torch.float32, 1e-4),
    (ThinPlateSpline, torch.float64, 1e-12),
]


def losses(make, backend, dtype):
    """Train a classifier behind a spatial transformer on turned digits.

    Returns every loss, and how far θ has moved from the identity.
    """
    torch.manual_seed(0)
    transformation, size = make(), (SIZE,) * 2
    localisation = LocalisationCNN(transformation, in_channels=1, lr_multiplier=0.3)
    transformer = SpatialTransformer(localisation, transformation, Sampler(backend=backend))
    classify = torch.nn.Linear(size[0] * size[1], 10)
    model = torch.nn.Sequential(transformer, torch.nn.Flatten(), classify).to(dtype)
    data, distort = shipped(None, "a test").train, DISTORTIONS["R"]
    optimiser, found = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), []
    for step in range(STEPS):
        sample = torch.arange(BATCH) + step * BATCH % 1024
        draws = Draws(0, step, sample)
        images = distort(data.inputs[sample].to(dtype) / 255, draws, data.inputs)
        loss = F.cross_entropy(model(images), data.targets[sample])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    moved = (localisation(images) - transformation.identity()).abs().mean().item()
    return torch.tensor(found, dtype=torch.float64), moved


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize(("make", "dtype", "tolerance"), CASES)
def test_trains_as_the_reference(backend, make, dtype, tolerance):
    due, moved = losses(make, "reference", dtype)
    found, _ = losses(make, backend, dtype)
    assert due[-3:].mean() < 0.9 * due[0]  # it learns,
    assert moved > 0.01  # and by θ, too
    assert ((found - due).abs() <= tolerance).all()
