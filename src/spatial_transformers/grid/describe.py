"""The parts of a map that a person can read.

A matrix is split into M = R · shear · scales, by Gram–Schmidt on its columns. A deformation is
described by how far it moves its control points.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def affine_parts(matrix: Float[Tensor, "N ndim ndim+1"]) -> dict[str, Float[Tensor, "N"]]:
    """Name the parts of affine maps, a value per image.

    They describe the sampling grid on the source, with y pointing down: rotation 30 turns the grid
    clockwise (the picture turns the other way), scale 0.5 reads half the source's extent (the
    picture grows to twice its size), and translation 10 moves the grid by a tenth of the extent.
    In 3-D, rotation is the angle about the map's own axis. Angles are measured in normalised
    coordinates: in an image that is not square, they differ from those between its pixels.
    """
    axes = "xyz"[: matrix.shape[1]]
    columns = matrix.unbind(-1)
    linear, translation = columns[:-1], columns[-1]
    directions, scales, shears = gram_schmidt(linear)
    parts = {"rotation (deg)": _angle(directions).rad2deg()}
    parts |= {f"scale {a}": scale for a, scale in zip(axes, scales, strict=True)}
    parts |= {f"shear {name}": shear for name, shear in shears.items()}
    parts |= {
        f"translation {a} (%)": 50 * t for a, t in zip(axes, translation.unbind(-1), strict=True)
    }
    return parts


def gram_schmidt(
    columns: tuple[Tensor, ...],
) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
    """Return rotation columns, scales (the last one signed) and shears of `M = R · K · S`."""
    directions: list[Tensor] = []
    scales: list[Tensor] = []
    shears: dict[str, Tensor] = {}
    for i, column in enumerate(columns):
        along = [(d * column).sum(-1) for d in directions]
        if i < len(columns) - 1:
            for d, a in zip(directions, along, strict=True):
                column = column - a[:, None] * d
            scale = column.norm(dim=-1)
            directions.append(column / scale[:, None])
        else:  # the last direction completes a rotation: a mirrored map has a negative scale
            directions.append(_complete(directions))
            scale = (directions[-1] * column).sum(-1)
        scales.append(scale)
        shears |= {f"{'xyz'[j]}{'xyz'[i]}": a / scale for j, a in enumerate(along)}
    return directions, scales, shears


def _complete(directions: list[Tensor]) -> Tensor:
    if len(directions) == 1:
        x, y = directions[0].unbind(-1)
        return torch.stack((-y, x), -1)
    return torch.linalg.cross(*directions)


def _angle(directions: list[Tensor]) -> Tensor:
    if len(directions) == 2:
        return torch.atan2(directions[0][:, 1], directions[0][:, 0])
    r = torch.stack(directions, -1)
    axis = torch.stack((r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]))
    trace = r.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(axis.norm(dim=0), trace - 1)


def displacement_parts(
    displacement: Float[Tensor, "N *lattice ndim"], name: str = "displacement"
) -> dict[str, Float[Tensor, "N"]]:
    """Name how far a deformation moves its control points, as a share of the source's extent."""
    squared = (displacement * displacement).sum(-1).flatten(1)
    return {
        f"{name} (%)": 50 * squared.mean(1).sqrt(),
        f"largest {name} (%)": 50 * squared.amax(1).sqrt(),
    }
