"""Implementations of the sampler, fastest first: the order in which they are tried."""

from ..dispatch import Backend
from .aten import Aten
from .reference import Reference

BACKENDS: tuple[Backend, ...] = (Aten(), Reference())
