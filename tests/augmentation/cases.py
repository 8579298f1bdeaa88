"""Images and options that the tests of random warps share."""

import numpy as np

SIZE = (40, 64)  # of images that are not square
EVERYTHING = {
    "rotation": (-25, 25),
    "scale": (0.9, 1.2),
    "stretch": (0.9, 1.1),
    "shear": (-5, 5),
    "translation": (-0.05, 0.05),
    "flip": (0.5, 0.5),
    "perspective": (-0.1, 0.1),
    "bend": 0.01,
}


def smooth(size):
    """Return a smooth image (float32) that vanishes on its border, so that it goes on outside."""
    axes = np.meshgrid(*[np.linspace(0, np.pi, n) for n in size], indexing="ij")
    window = np.prod([np.sin(a) for a in axes], 0)
    waves = sum(np.sin((2 + i) * a + i) for i, a in enumerate(axes))
    return (window * waves).astype(np.float32)
