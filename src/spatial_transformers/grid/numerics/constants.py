"""Numbers that a transformation computes once, when it is made."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Constants(nn.Module):
    """Named buffers that follow their module from device to device, but keep their dtype.

    They stay in float64 when the module is cast; a device without float64 holds them in float32.
    They come back when the module leaves the meta device, and are no part of checkpoints.
    Read one by its name, as `constants["matrix"]`, and cast it to the dtype of θ at the call.
    """

    def __init__(self, **tensors: Tensor):
        super().__init__()
        self._originals = {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}
        for name, tensor in self._originals.items():
            self.register_buffer(name, tensor.clone(), persistent=False)

    def __getitem__(self, name: str) -> Tensor:
        return getattr(self, name)

    def original(self, name: str) -> Tensor:
        """Return one as it was given, on the CPU, wherever the others are."""
        return self._originals[name]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Constants":
        with torch.inference_mode(False):  # tensors made here may take part in training later
            for name in self._originals:  # single, since some devices refuse what is double
                setattr(self, name, self[name].float())
            super()._apply(fn, recurse)
            for name, original in self._originals.items():
                device = self[name].device
                single = original.is_floating_point() and device.type == "mps"
                restored = original.float() if single else original
                setattr(self, name, restored.to(device, copy=True))
        return self
