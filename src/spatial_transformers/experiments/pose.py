"""What a person reads in the θ of many images: human units, and how much leaves the image."""

from torch import Tensor

from spatial_transformers import Transformation

_GRID = 16  # points per axis that stand for the grid


def summarise(transformation: Transformation, theta: Tensor) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation over the images of each quantity in human units.

    `outside (%)` is the share of the sampling grid beyond the image's edges.
    """
    values = {**transformation.describe(theta), "outside (%)": outside(transformation, theta)}
    return {
        name: {"mean": value.mean().item(), "std": value.std(correction=0).item()}
        for name, value in values.items()
    }


def outside(transformation: Transformation, theta: Tensor) -> Tensor:
    """Return the share of each image's sampling grid beyond its edges, in percent (N,)."""
    grid = transformation.grid(theta, _GRID)
    beyond = ~(grid.abs() <= 1).all(-1)  # NaN is outside too
    return 100 * beyond.flatten(1).double().mean(1)


def in_words(transformation: Transformation, theta: Tensor) -> list[str]:
    """Return what each image's θ does, a line per quantity.

    Example:
        >>> import torch
        >>> from spatial_transformers import Attention
        >>> print(in_words(Attention(), torch.tensor([[0.5, 0.0, 0.2]]))[0])
        scale 0.50
        translation x (%) +0
        translation y (%) +10

    """
    values = transformation.describe(theta)
    return [
        "\n".join(_line(name, value[i].item()) for name, value in values.items())
        for i in range(len(theta))
    ]


def _line(name: str, value: float) -> str:
    if name.endswith(("(%)", "(deg)")):
        whole = f"{value:+.0f}"
        return f"{name} {'+0' if whole == '-0' else whole}"
    return f"{name} {value:.2f}"
