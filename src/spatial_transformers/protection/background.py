"""The value of what lies outside the image: that of the images' own border.

Zeros are black to a network that sees pixels in [0, 1], and grey after normalising by mean and
standard deviation: then a transformer sees a frame that is in no image, and learns to avoid or to
show it. So the fill is estimated, once, from the first batch of training: the median along the
border, per channel. It is kept with the weights.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Background(nn.Module):
    """The fill of a spatial transformer, NaN until `estimate` has seen images.

    Args:
        channels: of the images; 1 is one value for all channels.

    """

    value: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("value", torch.full((channels,), torch.nan))
        self.known, self._fills = False, False

    def fill(self) -> Tensor | None:
        """Return the value (C,); None where zeros will do."""
        return self.value if self._fills else None

    @torch.no_grad()
    def estimate(self, image: Tensor) -> None:
        """Take the median of the border pixels of images (N, C, *size), of every channel."""
        if image.numel() == 0:
            return  # of an empty batch: the next one will tell
        border = torch.ones(image.shape[2:], dtype=torch.bool, device=image.device)
        border[(slice(1, -1),) * border.ndim] = False
        pixels = image[..., border].movedim(1, 0).reshape(len(self.value), -1)
        self.value = pixels.float().median(1).values.nan_to_num(0, 0, 0).to(self.value)
        self._read(self.value)

    def extra_repr(self) -> str:
        """Show the value."""
        return f"{[round(x, 3) for x in self.value.tolist()]}" if self.known else "unknown"

    def _read(self, value: Tensor) -> None:
        """Know whether there is a fill, so that no call waits for the device that holds it."""
        self.known = not value.is_meta and not bool(value.isnan().any())
        self._fills = self.known and bool(value.any())

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self._read(state_dict.setdefault(f"{prefix}value", self.value))  # older states have none
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
