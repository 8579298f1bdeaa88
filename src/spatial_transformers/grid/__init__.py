"""Grid generator (section 3.2): θ → T_θ(G)."""

from .affine import Affine as Affine
from .attention import Attention as Attention
from .base import Transformation as Transformation
from .deformation import Deformation as Deformation
from .homogeneous import Homogeneous as Homogeneous
