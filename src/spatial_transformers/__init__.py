"""Spatial transformer networks for PyTorch."""

from ._types import InputError as InputError
from .grid import Affine as Affine
from .grid import Attention as Attention
from .grid import Homogeneous as Homogeneous
from .grid import Transformation as Transformation
from .localisation import LocalisationCNN as LocalisationCNN
from .localisation import LocalisationFCN as LocalisationFCN
from .localisation import RegressionHead as RegressionHead
from .sampler import explain as explain
from .sampler import sample as sample
from .sampler import warp as warp
from .transformer import SpatialTransformer as SpatialTransformer
