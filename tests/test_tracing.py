"""The helpers of `tracing.py` fail where they should; oracle: functions wrong in one way each."""

import pytest
import torch
from torch.func import jvp

from tracing import compile_and_compare, export_and_compare, jvp_and_compare

CASES = [(torch.rand(3, 5),), (torch.rand(4, 7),)]

pytestmark = pytest.mark.traced


def _good(x):
    return x.sin() * x.shape[0]


def _wrong_value(x):
    return x + 1e-3 if torch.compiler.is_compiling() else x.clone()


def _wrong_gradient(x):
    return x + (x - x.detach() if torch.compiler.is_compiling() else 0)


def _one_graph_per_size(x):
    return x.sin() if x.shape[1] == 5 else x.sin() * 1


def test_right_functions_pass():
    compile_and_compare(_good, CASES)
    export_and_compare(_good, CASES, [(0, 1)])
    jvp_and_compare(torch.sin, torch.rand(4, dtype=torch.float64))


@pytest.mark.parametrize("function", [_wrong_value, _wrong_gradient])
def test_compile_sees_a_difference(function):
    with pytest.raises(AssertionError, match="not close"):
        compile_and_compare(function, CASES)


def test_compile_sees_a_recompilation():
    with pytest.raises(AssertionError, match="compiled 2 times"):
        compile_and_compare(_one_graph_per_size, CASES)


def test_export_sees_a_difference():
    with pytest.raises(AssertionError, match="not close"):
        export_and_compare(_wrong_value, CASES, [(0, 1)])


def test_export_sees_a_frozen_size():
    with pytest.raises(Exception, match=r"specialized|Constraints violated"):
        export_and_compare(lambda x: x.reshape(3, -1), CASES, [(0, 1)])


def test_jvp_sees_a_lost_tangent():
    lost = lambda x: x.sin() + x.detach().cos()  # noqa: E731
    assert jvp(lost, (torch.ones(1),), (torch.ones(1),))[1] == torch.ones(1).cos()
    with pytest.raises(AssertionError, match="not close"):
        jvp_and_compare(lost, torch.rand(4, dtype=torch.float64))
