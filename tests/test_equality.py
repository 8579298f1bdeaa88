"""`assert_identical` fails at the smallest difference; oracle: pairs that differ in one way."""

import pytest
import torch

from equality import assert_identical

ONE = torch.ones(2)


@pytest.mark.parametrize(
    "other", [ONE.double(), ONE.bfloat16(), ONE[None], ONE[:1], ONE + 2**-23, ONE * torch.nan]
)
def test_sees_a_difference(other):
    with pytest.raises(AssertionError):
        assert_identical(ONE, other)


def test_passes_equal_tensors_and_dictionaries_of_them():
    assert_identical(ONE, ONE.clone())
    assert_identical({"a": ONE, "b": ONE / 0}, {"a": ONE.clone(), "b": ONE / 0})
