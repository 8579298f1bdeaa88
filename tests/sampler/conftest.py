"""What every test of the sampler runs under."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Compute on one thread: tensors are tiny, so that a second one only waits, for minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
