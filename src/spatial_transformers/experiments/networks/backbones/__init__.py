"""Networks pretrained on ImageNet, by name."""

from .pretrained import BACKBONES as BACKBONES
from .pretrained import Backbone as Backbone
from .pretrained import backbone as backbone
