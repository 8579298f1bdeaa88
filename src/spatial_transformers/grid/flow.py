"""The deformations that are flows of a velocity: the flow of −v leads back."""

from .._types import Points, Theta
from .deformation import Deformation


class Flow(Deformation):
    """The flow of a velocity v_θ, linear in θ, over a unit of time: the flow of -θ leads back."""

    def inverse(self, theta: Theta) -> Theta:
        """Return the θ of the inverse map, -θ."""
        return -self.check(theta)

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates: along -v, to the integration's accuracy."""
        return self.transform_points(self.inverse(theta), points)
