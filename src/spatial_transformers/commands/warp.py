"""Warp an image file, by rotation, scale and translation or by θ as numbers.

Examples:
  stn warp photo.jpg --rotate 30 --scale 1.5 --translate 20 0 --out turned.png
  stn warp page.png --theta 0.5 0 0.2 0 0.5 0 --size 256 256 --out crop.png
  stn warp page.png --transformation attention --theta 0.5 0.2 0 --out crop.png
"""

import argparse
import math
from pathlib import Path

_LARGEST = 1 << 26  # pixels of the output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the image, the map and the sampler's options."""
    parser.add_argument("image", type=Path, help="a PNG or JPEG file")
    parser.add_argument("--out", type=Path, required=True, help="a PNG or JPEG file")
    parser.add_argument("--theta", type=float, nargs="+", help="θ, normalised, target to source")
    parser.add_argument("--transformation", default="affine", help="of --theta (affine)")
    parser.add_argument("--rotate", type=float, default=0.0, help="degrees, counter-clockwise")
    parser.add_argument("--scale", type=float, default=1.0, help="2 doubles the picture's content")
    parser.add_argument(
        "--translate", type=float, nargs=2, default=(0.0, 0.0), help="pixels, right and down"
    )
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="the image's own")
    parser.add_argument("--mode", default="bilinear", help="nearest or bilinear (bilinear)")
    parser.add_argument(
        "--padding-mode", default="zeros", help="zeros, border, reflection or constant (zeros)"
    )
    parser.add_argument("--fill", type=float, nargs="+", help="0 to 255, for constant padding")
    parser.add_argument("--align-corners", action="store_true", help="±1 are pixel centres")


def run(args: argparse.Namespace) -> int:
    """Warp and write the image, and print its path."""
    import torch

    from .. import Affine, Attention, InputError, warp
    from .images import read_image, write_image

    families = {"affine": Affine, "attention": Attention}
    if args.transformation not in families:
        known = ", ".join(families)
        raise InputError(f"transformation {args.transformation!r} was asked for; known: {known}")
    if args.size and not 0 < math.prod(args.size) <= _LARGEST:
        raise InputError(f"--size {args.size} was asked for; give 1 to {_LARGEST} pixels in all")
    picture = read_image(args.image)
    size = tuple(args.size or picture.values.shape[2:])
    moved = args.rotate != 0 or args.scale != 1 or tuple(args.translate) != (0, 0)
    if moved and (args.theta or args.transformation != "affine"):
        raise InputError(
            "--rotate, --scale and --translate go neither with --theta nor with families"
        )
    given = [*(args.theta or ()), args.rotate, args.scale, *args.translate, *(args.fill or ())]
    if not all(map(math.isfinite, given)):
        raise InputError("a number that is not finite was given; give finite ones")
    if args.scale == 0:
        raise InputError("--scale 0 was asked for; give a number other than 0")
    if args.theta:
        transformation, numbers = families[args.transformation](), args.theta
    else:
        transformation, numbers = Affine(), _theta(args, picture.values.shape[2:], size)
    warped = warp(
        picture.values,
        torch.tensor([numbers], dtype=torch.float64),
        transformation,
        size=size,
        mode=args.mode,
        padding_mode=args.padding_mode,
        fill_value=None if args.fill is None else [f / 255 for f in args.fill],
        align_corners=args.align_corners,
    )
    write_image(args.out, picture._replace(values=warped))
    print(args.out)
    return 0


def _theta(args: argparse.Namespace, source: tuple[int, ...], target: tuple[int, ...]) -> list:
    """Return the affine θ that turns, grows and moves the content about the centre, in pixels.

    From target to source: undo the translation, then the turn, then the growth.
    """
    angle = math.radians(args.rotate)
    a, b = math.cos(angle) / args.scale, math.sin(angle) / args.scale
    right, down = args.translate
    corners = int(args.align_corners)
    (h, w), (th, tw) = (
        [max(n - corners, 1) / 2 for n in size] for size in (source, target)
    )  # half extents
    x, y = a * right - b * down, b * right + a * down
    return [a * tw / w, -b * th / w, -x / w, b * tw / h, a * th / h, -y / h]
