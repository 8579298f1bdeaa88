"""The paper's networks, with and without a spatial transformer, of matched size."""

from .build import MODELS as MODELS
from .build import Classifier as Classifier
from .build import build as build
from .build import count_parameters as count_parameters
from .build import has_transformer as has_transformer
from .build import plain as plain
