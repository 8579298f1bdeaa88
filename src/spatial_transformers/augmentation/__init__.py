"""Data augmentation by the library's own transformations."""

from .random_warp import RandomWarp as RandomWarp
