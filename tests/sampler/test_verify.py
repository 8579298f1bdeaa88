"""`check` finds what is wrong with a backend; oracle: backends broken on purpose, one part each."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from spatial_transformers.sampler import verify
from spatial_transformers.sampler.autograd import Operator, run
from spatial_transformers.sampler.backends.reference import Reference
from spatial_transformers.sampler.dispatch import Spec
from spatial_transformers.sampler.options import Options
from spatial_transformers.sampler.target import Given
from spatial_transformers.sampler.verify import Case, check, check_all, expect, unverified


def _tensor(target):
    return target.coordinates if isinstance(target, Given) else target.values


def _moved(target, tensor):
    name = "coordinates" if isinstance(target, Given) else "values"
    return replace(target, **{name: tensor})


class Broken(Reference):
    """The reference behind an operator of its own, with one part spoiled."""

    tolerance: ClassVar = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2}

    def __init__(self, part=None, spoil=lambda t: t * 1.001):
        self.part, self.spoil = part, spoil

    def run(self, spec, image, target, fill, phi):
        def call(image, tensor):
            return Reference.run(self, spec, image, _moved(target, tensor), fill, phi)

        return self._run(call, image, _tensor(target))

    def _run(self, call, image, coordinates):
        def backward(grad, needed, *tensors):
            leaves = [t.detach().requires_grad_() for t in tensors]
            with torch.enable_grad():
                found = list(torch.autograd.grad(call(*leaves), leaves, grad))
            if self.part in ("image", "coordinates"):
                which = ("image", "coordinates").index(self.part)
                found[which] = self.spoil(found[which])
            return found

        def forward(u, c):
            values = call(u, c)
            return self.spoil(values) if self.part == "values" else values

        def reference(u, c):
            values = call(u, c)
            return self.spoil(values) if self.part == "second" else values

        return run(Operator(forward, backward, reference), image, coordinates)


def _case(operation, situation="inside", dtype=torch.float64, align_corners=False):
    spec = Spec(
        operation, 2, dtype, "cpu", "eager", False, Options("bilinear", "border", align_corners)
    )
    return Case(spec, situation)


operations = pytest.mark.parametrize("operation", ["sample", "warp"])


def _nan_somewhere(tensor):
    factor = torch.ones_like(tensor)
    factor.view(-1)[-1] = torch.nan
    return tensor * factor


@operations
@pytest.mark.parametrize("dtype", Broken.tolerance)
def test_check_passes_the_unbroken(operation, dtype):
    for situation in ("inside", "kinks", "one pixel", "one image", "one grid", "not finite"):
        assert check(Broken(), _case(operation, situation, dtype)) == []


@operations
@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("values", "values: off by"),
        ("image", "gradient to image: off by"),
        ("coordinates", "gradient to {coordinates}: off by"),
        ("second", "second derivative to {coordinates}: off by"),
    ],
)
@pytest.mark.parametrize("spoil", [lambda t: t * 1.001, _nan_somewhere], ids=["off", "nan"])
def test_check_finds_a_broken_part(operation, part, line, spoil):
    found = check(Broken(part, spoil), _case(operation))
    coordinates = {"sample": "grid", "warp": "theta"}[operation]
    assert any(f.startswith(line.format(coordinates=coordinates)) for f in found), found
    assert all("second" in f for f in found) or part != "second"
    assert all("allowed" in f for f in found)
    assert ("nan" in found[0]) == (spoil is _nan_somewhere)


@operations
def test_check_finds_a_slope_of_the_wrong_side(operation):
    """Left-hand slopes pass everywhere but on kinks."""

    class LeftHand(Reference):
        tolerance = Broken.tolerance

        def run(self, spec, image, target, fill, phi):
            grid = target.grid()
            below = grid - (grid.detach() - grid.detach().nextafter(grid.detach() - 1)) * 4
            return super().run(spec, image, Given(below, spec.align_corners), fill, phi)

    assert check(LeftHand(), _case(operation)) == []
    found = check(LeftHand(), _case(operation, "kinks"))
    assert any(f.startswith("gradient to") for f in found), found
    assert not any(f.startswith("values") for f in found)


@pytest.mark.parametrize("spoil", [lambda t: t.float(), lambda t: t[..., :1], lambda t: t.long()])
def test_check_finds_another_dtype_or_shape(spoil):
    (found,) = check(Broken("values", spoil), _case("warp"))
    assert " instead of (3, 2, 2, 67) in torch.float64" in found


def test_check_reports_what_a_backend_raises():
    def refuse(_):
        raise RuntimeError("out of order")

    assert check(Broken("values", refuse), _case("warp")) == ["raised RuntimeError: out of order"]
    assert check(Broken("image", refuse), _case("warp")) == ["raised RuntimeError: out of order"]


def test_check_finds_an_output_without_a_gradient():
    class Detached(Reference):
        tolerance = Broken.tolerance

        def run(self, *args):
            return super().run(*args).detach()

    (found,) = check(Detached(), _case("warp"))
    assert found.startswith("raised RuntimeError")


def test_check_finds_reads_of_what_is_not_finite():
    class Trusting(Reference):
        tolerance = Broken.tolerance

        def run(self, spec, image, target, fill, phi):
            known = _moved(target, _tensor(target).nan_to_num())
            return super().run(spec, image, known, fill, phi)

    assert check(Trusting(), _case("sample")) == []
    assert check(Trusting(), _case("sample", "not finite"))


def _seen(case):
    """Return the pixel coordinates (N, ..., ndim) that `check` puts to a backend."""
    found = []

    class Recording(Reference):
        tolerance = Broken.tolerance

        def run(self, spec, image, target, fill, phi):
            found.append(target.pixels(image.shape[2:]).detach())
            return super().run(spec, image, target, fill, phi)

    assert check(Recording(), case) == []
    return found[0]


@operations
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_situations_are_on_kinks_or_off_them(operation, align_corners, dtype):
    on = 2 * _seen(_case(operation, "kinks", dtype, align_corners))
    assert (on == on.round()).all()
    assert (on % 2 == 1).any()
    assert (on % 2 == 0).any()
    off = _seen(_case(operation, "inside", dtype, align_corners)) * 2
    assert ((off - off.round()).abs() > 1.9e-3).all()  # twice the margin, less rounding
    odd = _seen(_case(operation, "not finite", dtype, align_corners))
    assert odd.isnan().any()
    assert odd.isfinite().all(-1).any()
    far = _seen(_case(operation, "outside", dtype, align_corners))
    assert (far.abs() == torch.finfo(dtype).max).any()
    assert (far.abs() < 1e3).all(-1).any()


def test_check_is_repeatable_and_names_its_case():
    case = _case("sample")
    first, second = (check(Broken("values"), case) for _ in range(2))
    assert first == second
    assert str(case) == (
        "sample of a 2-D float64 image on cpu, mode bilinear, padding border, context eager: inside"
    )


def test_what_is_not_verified():
    assert unverified(Broken()) == ["it has no tolerance for float16"]

    class Refusing(Broken):
        def why_not(self, spec):
            return ["it runs nowhere"] + ["it has no 3-D"] * (spec.ndim == 3)

    assert unverified(Refusing()) == ["it runs nowhere"]


def test_check_all_shares_what_the_reference_gives(monkeypatch):
    """Every backend is compared with the same tensors, and none can spoil them for the next."""
    case = _case("sample")
    first, second = Broken(), Broken("values")
    monkeypatch.setattr(verify, "cases", lambda backend, device, quick: [_case("sample")])
    found = list(check_all([second, first, second]))
    assert [backend for backend, _, _ in found] == [second, first, second]
    assert [lines for _, _, lines in found] == [check(b, case) for b in (second, first, second)]
    assert found[1][2] == []
    assert found[0][2]


def test_check_compares_with_what_it_is_given():
    case = _case("warp")
    expected = expect(case)
    name, values = expected.results[0]
    wrong = replace(expected, results=[(name, values + 1), *expected.results[1:]])
    assert check(Broken(), case, expected) == []
    assert check(Broken(), case, wrong)[0].startswith("values: off by")
