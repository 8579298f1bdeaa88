"""The backend `cpu`: compiled C++ (`csrc/`), and the Python that calls it."""

from .backend import Cpu as Cpu
