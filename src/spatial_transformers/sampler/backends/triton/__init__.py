"""The backend `triton`: fused CUDA kernels, and the Python that launches them."""

from .backend import Triton as Triton
