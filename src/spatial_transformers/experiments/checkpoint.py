"""Checkpoints that are written whole and loaded without unpickling code.

Lightning itself writes to the system's temporary folder and copies across file systems. A kill or a
full disk then leaves a part of a checkpoint.
"""

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from spatial_transformers import InputError

from .._files import whole


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, by way of a temporary name in the same folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, whole or not at all."""
        content = BytesIO()  # torch.save to a file does not report a full disk
        torch.save(checkpoint, content)
        with whole(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain values only.

        Raises:
            InputError: if the file is damaged, or holds anything else.

        """
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(f"{path}: damaged checkpoint; delete it to start again") from error
