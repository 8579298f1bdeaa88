"""Triton's interpreter, made to patch its language once in place of at every call in a kernel."""

from typing import Any

import triton.language as tl
from triton.runtime import interpreter


class _Kept:
    def restore(self) -> None:
        """Leave the language patched, for good."""


def patch_once() -> None:
    """Make the interpreter several times faster; the process cannot compile kernels any more."""
    patch, done = interpreter._patch_lang, set()

    def patch_if_new(function: Any) -> _Kept:
        seen = frozenset(id(v) for v in function.__globals__.values() if v in (tl, tl.core))
        if seen not in done:
            done.add(seen)
            patch(function)
        return _Kept()

    interpreter._patch_lang = patch_if_new
