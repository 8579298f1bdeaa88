"""Grid generator (section 3.2): θ → T_θ(G)."""

from .affine import Affine as Affine
from .attention import Attention as Attention
from .base import Homogeneous as Homogeneous
from .base import Transformation as Transformation
