"""Numbers that follow their module from device to device, and in nothing else."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from equality import assert_identical
from spatial_transformers import Attention, ThinPlateSpline
from spatial_transformers.grid.numerics.constants import Constants

PI = torch.tensor([math.pi, 1 / 3], dtype=torch.float64)
INDEX = torch.tensor([2**40, -1])  # of more bits than float32 holds


class _Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.constants = Constants(pi=PI, index=INDEX)

    def forward(self, theta):
        return theta * self.constants.pi.to(theta)


def _require_intact(layer, device="cpu"):
    assert layer.constants.pi.device.type == layer.constants.index.device.type == device
    if device == "cpu":
        assert_identical(layer.constants.pi, PI)
        assert_identical(layer.constants.index, INDEX)


@pytest.mark.parametrize("cast", ["half", "bfloat16", "float", "double", "cpu", "eval"])
def test_a_cast_of_the_module_leaves_them_alone(cast):
    layer = getattr(_Layer(), cast)()
    _require_intact(layer)
    casts = {"half": torch.half, "bfloat16": torch.bfloat16, "double": torch.double}
    assert layer.weight.dtype == casts.get(cast, torch.float32)


def test_casts_one_after_another_lose_nothing():
    _require_intact(_Layer().half().to(torch.bfloat16).double().type(torch.float32))


def test_they_come_back_when_the_module_leaves_meta():
    layer = _Layer().to("meta")
    _require_intact(layer, "meta")
    _require_intact(layer.half(), "meta")
    _require_intact(layer.to_empty(device="cpu"))


def test_a_module_made_under_meta_has_them():
    with torch.device("meta"):
        layer = _Layer()
        attention = Attention(bounds={"s": (0.1, 3)})
    layer.to_empty(device="cpu")
    _require_intact(layer)
    attention.to_empty(device="cpu")
    assert attention.values(torch.tensor([[1e9, 2.0, 3.0]])).tolist() == [[3, 2, 3]]


def test_they_follow_to_a_device_without_float64():
    def move(tensor):
        if tensor.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return tensor.to("meta")

    _require_intact(_Layer()._apply(move), "meta")


def test_they_are_no_part_of_checkpoints():
    assert list(_Layer().state_dict()) == ["weight"]
    assert not Attention(bounds=(-9, 9)).state_dict()
    _Layer().load_state_dict({"weight": torch.zeros(2)})


def test_given_tensors_are_copied_and_detached():
    given = PI.clone().requires_grad_()
    constants = Constants(pi=given)
    with torch.no_grad():
        given.zero_()
    assert_identical(constants.half().pi, PI)


def test_copies_and_pickles_are_whole_and_on_their_own():
    layer = _Layer().half()
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    copies = (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(file, weights_only=False),
    )
    layer.constants.pi.zero_()
    for other in copies:
        _require_intact(other)
        _require_intact(other.to("meta").to_empty(device="cpu"))
    bounded, theta = Attention(bounds=(-9, 9)), torch.randn(4, 3)
    assert_identical(copy.deepcopy(bounded).values(theta), bounded.values(theta))


def test_what_a_cast_restores_is_not_what_is_in_use():
    layer = _Layer()
    for _ in range(2):
        layer.constants.pi.zero_()
        _require_intact(layer.float())


@pytest.mark.traced
def test_a_compiled_module_is_not_compiled_again():
    layer, counter = _Layer(), CompileCounterWithBackend("eager")
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    for _ in range(3):
        theta = torch.randn(4, 2)
        assert_identical(compiled(theta), theta * PI.float())
    assert counter.frame_count == 1


def test_moved_in_inference_mode_it_trains_afterwards():
    spline = ThinPlateSpline(3)
    with torch.inference_mode():
        spline.to("cpu")
    theta = torch.zeros(1, 18, requires_grad=True)
    spline.grid(theta, (3, 3)).sum().backward()
    assert theta.grad is not None
