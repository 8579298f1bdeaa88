"""Warp image files: by human units, by θ, or at random.

Examples:
  stn warp photo.jpg --rotate 30 --scale 1.5 --translate 20 0 --out turned.png
  stn warp page.png --theta 0.5 0 0.2 0 0.5 0 --size 256 256 --out crop.png
  stn warp page.png --transformation attention --theta 0.5 0.2 0 --out crop.png
  stn warp page.png --transformation thin-plate-spline --random 0.1 --out bent.png
  stn warp page.png --transformation rigid+cpab --theta-file theta.json --out unbent.png
  stn warp scans/ --rotate 90 --out turned/
"""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_WIDEST = 1e6  # spread of a random θ
_LARGEST = 1 << 26  # pixels of the output
_MOST = 1e6  # times that content grows or shrinks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the image, the map and the sampler's options."""
    parser.add_argument(
        "images", type=Path, nargs="+", help="PNG, JPEG, WebP, TIFF, BMP or PPM files, or folders"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="such a file, or a folder for what is made of many"
    )
    parser.add_argument(
        "--transformation", help="what θ means, by name, or several joined by + (affine)"
    )
    theta = parser.add_mutually_exclusive_group()
    theta.add_argument("--theta", type=float, nargs="+", help="θ, normalised, target to source")
    theta.add_argument("--theta-file", type=Path, help="θ as a JSON list of numbers")
    theta.add_argument("--random", type=float, metavar="STD", help="θ drawn about the identity")
    parser.add_argument("--seed", type=int, default=0, help="of --random (0)")
    parser.add_argument("--rotate", type=float, default=0.0, help="degrees, counter-clockwise")
    parser.add_argument("--scale", type=float, default=1.0, help="2 doubles the picture's content")
    parser.add_argument(
        "--translate", type=float, nargs=2, default=(0.0, 0.0), help="pixels, right and down"
    )
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="the image's own")
    parser.add_argument("--mode", default="bilinear", help="a kernel, as lanczos3 (bilinear)")
    parser.add_argument(
        "--padding-mode",
        default="zeros",
        type=_padding,
        metavar="NAME[,NAME]",
        help="zeros, constant, border, reflection, wrap or renormalise (zeros); one, or one each "
        "for rows and columns, as border,wrap",
    )
    parser.add_argument(
        "--antialias", action="store_true", help="widen the kernel where it shrinks"
    )
    parser.add_argument(
        "--max-shrink", type=float, metavar="TIMES", help="how far --antialias widens at most (8)"
    )
    parser.add_argument("--fill", type=float, nargs="+", help="0 to 255, for constant padding")
    parser.add_argument("--align-corners", action="store_true", help="±1 are pixel centres")


def run(args: argparse.Namespace) -> int:
    """Warp and write each image, and print its path; return 2 if one of many cannot be."""
    from .._images import destinations

    _check(args)
    if len(args.images) == 1 and not args.images[0].is_dir() and not args.out.is_dir():
        _warp(args, args.images[0], args.out)
        return 0
    status = 0
    for source, target in destinations(args.images, args.out).items():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _warp(args, source, target)
        except (InputError, OSError) as error:
            print(f"stn warp: {error}", file=sys.stderr)
            status = 2
    return status


def _warp(args: argparse.Namespace, path: Path, out: Path) -> None:
    """Warp one image file."""
    import torch

    from .. import warp
    from .._images import read_image, write_image
    from ..sampler.options import MAX_SHRINK

    picture = read_image(path)
    source = tuple(picture.values.shape[2:])
    size = tuple(args.size or source)
    transformation, theta = _map(args, source, size)
    cap = MAX_SHRINK if args.max_shrink is None else args.max_shrink
    with torch.no_grad():
        warped = warp(
            picture.values,
            theta,
            transformation,
            size=size,
            mode=args.mode,
            padding_mode=args.padding_mode,
            fill_value=None if args.fill is None else _fill(args.fill, picture.mode),
            align_corners=args.align_corners,
            antialias=args.antialias and cap,
        )
        if args.antialias:
            steps = transformation.spacing(theta, size, source, align_corners=args.align_corners)
            _warn_of_aliasing(steps, cap)
    write_image(out, picture._replace(values=warped))
    print(out)


def _padding(given: str) -> str | tuple[str, ...]:
    names = tuple(given.split(","))
    return names if len(names) > 1 else given


def _fill(given: list[float], mode: str) -> list[float]:
    """Return the fill as images have it: colours from 0 to 1, multiplied by alpha."""
    fill = [number / 255 for number in given]
    if mode in ("LA", "RGBA") and len(fill) == len(mode):
        return [*(colour * fill[-1] for colour in fill[:-1]), fill[-1]]
    return fill


def _warn_of_aliasing(steps: "Tensor", most: float) -> None:
    import torch

    widest = torch.linalg.matrix_norm(steps.nan_to_num(0), 2).max().item()
    if widest > 1.01 * most:
        print(
            f"stn warp: it shrinks by up to {widest:.3g}, antialiased as if by {most:g}; give "
            f"--max-shrink {math.ceil(widest)}",
            file=sys.stderr,
        )


def _check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and numbers out of range."""
    if args.size and not 0 < math.prod(args.size) <= _LARGEST:
        raise InputError(f"--size {args.size} was asked for; give 1 to {_LARGEST} pixels in all")
    if args.max_shrink is not None and not args.antialias:
        raise InputError("--max-shrink was given without --antialias; give both")
    chosen = (args.theta, args.theta_file, args.random, args.transformation)
    if _moved(args) and any(option is not None for option in chosen):
        raise InputError("--rotate, --scale and --translate go neither with θ nor with families")
    numbers = [args.rotate, args.scale, *args.translate, *(args.fill or ()), args.random or 0]
    if not all(map(math.isfinite, [*numbers, *(args.theta or ())])):
        raise InputError("a number that is not finite was given; give finite ones")
    if not 1 / _MOST <= abs(args.scale) <= _MOST:
        raise InputError(
            f"--scale {args.scale:g} was asked for; give a number other than 0, from {1 / _MOST:g} "
            f"to {_MOST:g}, or less for a mirror"
        )
    if not all(0 <= number <= 255 for number in args.fill or ()):
        raise InputError(f"--fill {args.fill} was asked for; give numbers from 0 to 255")
    if not 0 <= args.seed < 1 << 32 or not 0 <= (args.random or 0) <= _WIDEST:
        raise InputError(
            f"--random {args.random} --seed {args.seed} were asked for; give a standard deviation "
            f"from 0 to {_WIDEST:g}, and a seed from 0 below 2^32"
        )


def _moved(args: argparse.Namespace) -> bool:
    """Return whether human units say what the map is."""
    return args.rotate != 0 or args.scale != 1 or tuple(args.translate) != (0, 0)


def _map(args: argparse.Namespace, source: tuple[int, ...], target: tuple[int, ...]):
    """Return the transformation that was asked for, and θ (1, P)."""
    import torch

    from .. import make_transformation
    from .._reading import read_numbers

    transformation = make_transformation(args.transformation or "affine")
    if _moved(args):
        given = _theta(args, source, target)
    elif args.theta_file is not None:
        given = read_numbers(args.theta_file)
    else:
        given = args.theta or transformation.identity().tolist()
    theta = torch.tensor([given], dtype=torch.float64)
    if args.random is not None:
        generator = torch.Generator().manual_seed(args.seed)
        theta += args.random * torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
    return transformation, theta


def _theta(args: argparse.Namespace, source: tuple[int, ...], target: tuple[int, ...]) -> list:
    """Return the affine θ that turns, grows and moves the content about the centre, in pixels.

    From target to source: undo the translation, then the turn, then the growth.
    """
    import torch

    from .. import Affine, from_opencv

    angle = math.radians(args.rotate)
    a, b = math.cos(angle) / args.scale, math.sin(angle) / args.scale
    undone = torch.tensor([[a, -b], [b, a]], dtype=torch.float64)
    (h, w), (th, tw) = ([(n - 1) / 2 for n in size] for size in (source, target))
    centres = torch.tensor([[w, h], [tw, th]], dtype=torch.float64)
    offset = centres[0] - undone @ (centres[1] + torch.tensor(args.translate, dtype=torch.float64))
    matrix = torch.cat((undone, offset[:, None]), 1)[None]
    corners = args.align_corners
    normalised = from_opencv(matrix, target, source, align_corners=corners, inverse_map=True)
    return Affine().from_matrix(normalised)[0].tolist()
