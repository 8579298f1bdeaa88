"""Affine maps by the exponential of their Lie algebra: always invertible."""

from collections.abc import Mapping
from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix, square

_LARGEST = 64.0  # largest entry of the generator: beyond it, exponentials overflow in float32
_HALVINGS = 9  # bring the largest usable generator, of norm 3 * 64 in 3-D, to a norm below 1/2
_ROOTS = 4  # square roots before the series of the logarithm
_ROOT_STEPS = 10  # Newton steps of each square root
_LOG_TERMS = 12  # of artanh's series


class AffineExponential(Homogeneous):
    """M_θ = exp A(θ): every θ is an orientation-preserving affine map, and -θ its inverse.

    θ holds the generator A row by row: in 2-D `(a11, a12, bx, a21, a22, by)`, P = 6; in 3-D P = 12.
    A vanishes at the identity, which makes it a natural prediction for a network. a11 = a22 = s
    alone scales by exp s; a21 = -a12 = r alone turns by r radians.

    Convention: M = exp [A b; 0 0], target to source, in normalised coordinates.

    `inverse` is -θ. `compose` and `from_matrix` take the principal logarithm of a matrix. A matrix
    with a negative real eigenvalue, such as a mirrored or half-turned one, has none: they raise,
    naming the sample. A generator with an entry beyond ±64 gives NaN, which the sampler fills.

    Args:
        ndim: 2 for images, 3 for volumes.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> from math import log
        >>> double = torch.tensor([[log(2), 0.0, 0.0, 0.0, log(2), 0.0]])
        >>> AffineExponential().matrix(double).round(decimals=4).tolist()
        [[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]
        >>> AffineExponential(ndim=3).grid(torch.zeros(2, 12), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Higham, Functions of Matrices, 2008, chapters 10 and 11; Lin and Lucey, Inverse
    Compositional Spatial Transformer Networks, CVPR 2017, use the same coordinates.

    """

    def __init__(self, ndim: int = 2, *, bounds: Bounds | None = None):
        super().__init__(ndim)
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The generator, row by row."""
        return tuple(
            f"a{r + 1}{c + 1}" if c < self.ndim else f"b{'xyz'[r]}"
            for r in range(self.ndim)
            for c in range(self.ndim + 1)
        )

    def identity(self) -> Float[Tensor, "P"]:
        """Return the zero generator."""
        return torch.zeros(self.ndim * (self.ndim + 1), device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Matrix:
        """Return exp A."""
        generator = torch.unflatten(values, -1, (self.ndim, self.ndim + 1))
        last = torch.zeros_like(generator[:, :1])
        usable = (generator.abs() <= _LARGEST).all((1, 2))[:, None, None]
        # zeros go in and NaN comes out: an infinite exponential would make gradients NaN
        full = _in_double(torch.cat((generator, last), 1)).where(usable, 0)
        matrix = _exponential(full)[:, :-1].to(generator.dtype)  # in double: float32 loses digits
        return matrix.where(usable, torch.nan)

    def inverse(self, theta: Theta) -> Theta:
        """Return -θ, or with bounds the θ of the negative generator."""
        return self._theta(-self.values(theta))

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the parts of the matrix; see `affine_parts`."""
        return affine_parts(self.matrix(theta))

    def _read(self, matrix: Matrix) -> Tensor:
        return _logarithm(_in_double(square(matrix)))[:, :-1].flatten(1).to(matrix.dtype)


def _in_double(matrix: Tensor) -> Tensor:
    return matrix if matrix.device.type == "mps" else matrix.double()


def _exponential(matrix: Tensor) -> Tensor:
    """Return the exponential by scaling and squaring, in a fixed number of steps.

    exp M = (exp M/2^k)^(2^k), each matrix with its own k. `torch.linalg.matrix_exp` chooses its
    steps by values, and has no counterpart in ONNX.
    """
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    norm = matrix.detach().abs().sum(1).amax(1)[:, None, None]
    halved = [norm > 2.0 ** (k - 1) for k in range(_HALVINGS)]
    for halve in halved:
        matrix = (matrix / 2).where(halve, matrix)
    total = _series(matrix, eye)
    for halve in halved:
        total = total @ total.where(halve, eye)  # squares that are not needed could overflow
    return total


def _series(matrix: Tensor, eye: Tensor) -> Tensor:
    """Return Σ M^k / k! up to k = 15, by Paterson and Stockmeyer in six products.

    For a norm of M up to 1/2, the terms left out are below the rounding of float64.
    """
    second = matrix @ matrix
    third, fourth = matrix @ second, second @ second

    def block(k: int) -> Tensor:
        low = eye / factorial(k) + matrix / factorial(k + 1)
        return low + second / factorial(k + 2) + third / factorial(k + 3)

    return block(0) + fourth @ (block(4) + fourth @ (block(8) + fourth @ block(12)))


def _logarithm(matrix: Tensor) -> Tensor:
    """Return the principal logarithm, by inverse scaling and squaring in a fixed number of steps.

    log M = 2^k log M^(1/2^k), and near the identity log X = 2 artanh((X - I)(X + I)⁻¹).
    """
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    root = matrix
    for _ in range(_ROOTS):
        root = _square_root(root)
    quotient = (root - eye) @ _inverse(root + eye)
    squared, power, total = quotient @ quotient, quotient, quotient
    for k in range(1, _LOG_TERMS):
        power = power @ squared
        total = total + power / (2 * k + 1)
    return total * 2 ** (_ROOTS + 1)


def _square_root(matrix: Tensor) -> Tensor:
    """Return the principal square root by the iteration of Denman and Beavers, in product form."""
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    root, rest = matrix, matrix  # rest tends to the identity
    for _ in range(_ROOT_STEPS):
        inverse = _inverse(rest)
        root = root @ (eye + inverse) / 2
        rest = (eye + (rest + inverse) / 2) / 2
    return root


def _inverse(matrix: Tensor) -> Tensor:
    return torch.linalg.inv_ex(matrix).inverse  # does not raise where there is none
