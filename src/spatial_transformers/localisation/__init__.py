"""Localisation network (section 3.1): U → θ."""

from .cnn import LocalisationCNN as LocalisationCNN
from .fcn import LocalisationFCN as LocalisationFCN
from .head import RegressionHead as RegressionHead
from .starts import region_start as region_start
from .starts import tiled_starts as tiled_starts
