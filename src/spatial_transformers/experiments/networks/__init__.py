"""The paper's networks, with and without a spatial transformer, of matched size."""

from .build import HIDDEN as HIDDEN
from .build import MODELS as MODELS
from .build import POINTS as POINTS
from .build import SOLID as SOLID
from .build import UNGUARDED as UNGUARDED
from .build import Classifier as Classifier
from .build import assemble as assemble
from .build import build as build
from .build import count_parameters as count_parameters
from .build import has_transformer as has_transformer
from .build import laid_out as laid_out
from .build import plain as plain
from .cnn import CNN as CNN
