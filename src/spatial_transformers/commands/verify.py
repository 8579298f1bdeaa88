"""Compare every backend with the reference, on this machine.

Examples:
  stn verify
  stn verify --quick
  stn verify --device cuda --backend triton
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._errors import InputError

if TYPE_CHECKING:
    from ..sampler.dispatch import Backend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of backends, devices and cases."""
    parser.add_argument("--backend", help="only this one")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="only there (cpu, and cuda where there is one)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a sample of the cases: seconds, not minutes"
    )


def run(args: argparse.Namespace) -> int:
    """Print what agrees, what does not, and what was not verified.

    Returns:
        0; or 1 if a backend disagrees, or if the one that was asked for was not verified anywhere.

    """
    from ..sampler.backends import BACKENDS

    chosen = [b for b in BACKENDS if args.backend in (None, b.name)]
    if not chosen:
        known = ", ".join(b.name for b in BACKENDS)
        raise InputError(f"backend {args.backend!r} was asked for; known: {known}")
    tallies: list[_Tally] = []
    for device in _devices(args.device):
        found = _verify(chosen, device, args.quick)
        print(*(line for tally in found for line in tally.lines()), sep="\n", flush=True)
        tallies += found
    missed = args.backend and not any(t.cases or t.is_reference for t in tallies)
    return 1 if missed or any(t.faults for t in tallies) else 0


@dataclass
class _Tally:
    """What was found of one backend on one device."""

    backend: "Backend"
    device: str
    cases: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_reference(self) -> bool:
        return not self.backend.tolerance

    def lines(self) -> list[str]:
        """Return the lines to print."""
        from ..sampler.verify import unverified

        name, device = self.backend.name, self.device
        if self.is_reference:
            return [f"{name}: what the others are compared with on {device}"]
        missing = "; ".join(unverified(self.backend, device))
        if not self.cases:
            return [f"{name}: not verified on {device}: {missing}"]
        agree = f"{name}: {self.cases - self.wrong} of {self.cases} cases agree on {device}"
        return [agree, *([f"  not verified: {missing}"] if missing else []), *self.faults]


def _verify(backends: "Sequence[Backend]", device: str, quick: bool) -> list[_Tally]:
    from ..sampler.verify import check_all

    tallies = {b.name: _Tally(b, device) for b in backends}
    for backend, case, faults in check_all(backends, device, quick=quick):
        tally = tallies[backend.name]
        tally.cases += 1
        tally.wrong += bool(faults)
        tally.faults += [f"  {case}: {fault}" for fault in faults]
    return list(tallies.values())


def _devices(asked: str | None) -> list[str]:
    """Return the device that was asked for, or all that there are."""
    import torch

    if asked == "cpu" or (asked is None and not torch.cuda.is_available()):
        return ["cpu"]
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        raise InputError(
            f"device cuda was asked for; PyTorch {torch.__version__}, built {built}, finds no GPU; "
            "give --device cpu, or run it where torch.cuda.is_available()"
        )
    return ["cuda"] if asked else ["cpu", "cuda"]
