"""What an experiment reads: samples in memory or in files, and how a network is shown them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatial_transformers import Transformation

from .draws import Draws

Placed = tuple[Transformation, Tensor]


class Samples(ABC):
    """Inputs (N, C, *size) and targets (N, …), taken by number.

    A batch is taken in two steps. The first, `load`, runs in the data loader's processes: it reads
    files, and of samples in memory it passes on the numbers. The second, `take`, runs on the device
    that trains: it picks the samples in memory.
    """

    targets: Tensor

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.targets)

    def to(self, device: torch.device) -> "Samples":
        """Return the samples on a device, if they are in memory."""
        return self

    @abstractmethod
    def load(self, numbers: Tensor) -> Any:
        """Return what the data loader's processes read of some samples: tensors."""

    @abstractmethod
    def take(self, loaded: Any) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of what was loaded."""

    @abstractmethod
    def __add__(self, more: Any) -> "Samples":
        """Return these samples, then more of the same kind."""


@dataclass(frozen=True)
class InMemory(Samples):
    """Images or volumes (N, C, *size) of one size, in uint8 or floating point, and targets."""

    inputs: Tensor
    targets: Tensor

    def __getitem__(self, part: slice | Tensor) -> "InMemory":
        """Return a part of the samples."""
        return InMemory(self.inputs[part], self.targets[part])

    def __add__(self, more: "InMemory") -> "InMemory":
        """Return these samples, then more of the same size."""
        pairs = (self.inputs, more.inputs), (self.targets, more.targets)
        return InMemory(*(torch.cat(pair) for pair in pairs))

    def to(self, device: torch.device) -> "InMemory":
        """Return the samples on a device."""
        return InMemory(self.inputs.to(device), self.targets.to(device))

    def load(self, numbers: Tensor) -> Tensor:
        """Return the numbers."""
        return numbers

    def take(self, loaded: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples of these numbers."""
        return self.inputs[loaded], self.targets[loaded]


@dataclass(frozen=True)
class InFiles(Samples):
    """A file for each sample, read whenever it is needed.

    Args:
        paths: of the files.
        targets: (N, …).
        read: returns the input (C, *size) that is in a file, of one size for all.

    """

    paths: Sequence[Path]
    targets: Tensor
    read: Callable[[Path], Tensor]

    def __add__(self, more: "InFiles") -> "InFiles":
        """Return these samples, then more that are read alike."""
        targets = torch.cat((self.targets, more.targets))
        return InFiles((*self.paths, *more.paths), targets, self.read)

    def load(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets."""
        inputs = [self.read(self.paths[number]) for number in numbers.tolist()]
        return torch.stack(inputs), self.targets[numbers]

    def take(self, loaded: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, which are loaded already."""
        return loaded


#: Turns stored inputs (N, C, *size) into what a network sees, on their device. The further
#: arguments are the draws, which decide everything that is random; all samples of the split, pieces
#: of which may be laid over the inputs; and the strength of augmentation, which is 1 at the
#: beginning of training, less later, and 0 in scoring.
Prepare = Callable[[Tensor, Draws, Any, float], Tensor]


def as_floats(inputs: Tensor, draws: Draws, samples: Any, strength: float) -> Tensor:
    """Return inputs as they are stored, bytes as 0 to 1."""
    return inputs if inputs.is_floating_point() else inputs.float() / 255


@dataclass(frozen=True)
class Data:
    """What an experiment trains on, and what it scores.

    Args:
        train: samples that train.
        validation: samples that guide choices.
        test: samples that are scored once.
        prepare: scales, distorts and augments stored inputs: see `Prepare`.
        place: draws where the network's input lies in what is stored, if it was moved at random.
        repeats: fixed draws under which each test sample is scored.
        workers: processes that read files.
        left_out: names of files that are not read, since they are damaged.

    """

    train: Samples
    validation: Samples
    test: Samples
    prepare: Prepare = as_floats
    place: Callable[[Draws], Placed] | None = None
    repeats: int = 1
    workers: int = 0
    left_out: Sequence[str] = ()

    def to(self, device: torch.device) -> "Data":
        """Return what is in memory on a device."""
        train, validation, test = (p.to(device) for p in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)
