"""Compare every available backend with the reference, on this machine.

Example:
  stn verify
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of backends."""
    parser.add_argument("--backend", help="only this one")


def run(args: argparse.Namespace) -> int:
    """Print a line per backend, and a line per disagreement; return 1 if there is any."""
    from ..sampler import verify
    from ..sampler.backends import BACKENDS

    chosen = [b for b in BACKENDS if args.backend in (None, b.name)]
    if not chosen:
        from .. import InputError

        known = ", ".join(b.name for b in BACKENDS)
        raise InputError(f"backend {args.backend!r} was asked for; known: {known}")
    failed = 0
    for backend in chosen:
        cases = list(verify.cases(backend))
        wrong = {case: found for case in cases if (found := verify.check(backend, case))}
        if cases:
            print(f"{backend.name}: {len(cases) - len(wrong)} of {len(cases)} cases agree")
        else:
            print(f"{backend.name}: what the others are compared with")
        for case, found in wrong.items():
            print(*(f"  {case}: {line}" for line in found), sep="\n")
        failed += len(wrong)
    return 1 if failed else 0
