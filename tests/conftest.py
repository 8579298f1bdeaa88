"""What the fixtures of the root need."""

from torch.utils._device import _device_constructors

_device_constructors()  # cached: must not see the poisoned `torch.empty`, which it would pass over
