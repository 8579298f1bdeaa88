"""Several transformers put together; oracles: each alone, `grid_sample`, products of matrices."""

import copy
import io
import pickle
import warnings
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    Affine,
    AffineExponential,
    AppendTheta,
    Attention,
    Compose,
    InputError,
    LocalisationCNN,
    LocalisationFCN,
    Parallel,
    Projective,
    Recurrent,
    Rigid,
    Sampler,
    Series,
    SpatialTransformer,
    ThinPlateSpline,
    Translation,
    diagnose,
    show,
    tiled_starts,
    warp,
)
from spatial_transformers.protection.watch import faults
from tracing import compile_and_compare, export_and_compare

FAMILIES = {
    "affine": Affine(),
    "affine-3d": Affine(3),
    "projective": Projective(),
    "thin-plate-spline": ThinPlateSpline(3),
}
transformations = pytest.mark.parametrize("transformation", FAMILIES.values(), ids=FAMILIES.keys())
SIZE = (12, 15, 10)


def _stn(transformation, perturbation=0.3, size=None, start=None):
    """A transformer whose θ depends on its input, or is the identity, without protections."""
    localisation = LocalisationFCN(
        transformation, in_channels=2, input_size=8, perturbation=perturbation, start=start
    )
    plain = {"reach": None, "watch": False}
    return SpatialTransformer(localisation, transformation, Sampler(), size=size, **plain)


def _image(ndim=2, n=3):
    return torch.randn(n, 2, *SIZE[:ndim])


ARRANGEMENTS = {
    "parallel": lambda transformation, **options: Parallel(
        _stn(transformation, **options), _stn(transformation, **options)
    ),
    "series": lambda transformation, **options: Series(
        _stn(transformation, **options), _stn(transformation, **options)
    ),
    "recurrent": lambda transformation, **options: Recurrent(_stn(transformation, **options), 3),
    "shared": lambda transformation, **options: Parallel(
        _stn(transformation, start=transformation.identity().repeat(2, 1), **options)
    ),
}
arrangements = pytest.mark.parametrize("make", ARRANGEMENTS.values(), ids=ARRANGEMENTS.keys())


@transformations
@arrangements
def test_starts_by_returning_its_input_bit_for_bit(make, transformation):
    arrangement, image = make(transformation, perturbation=0.0), _image(transformation.ndim)
    parallel = isinstance(arrangement, Parallel)
    assert_identical(arrangement(image), torch.cat([image, image], 1) if parallel else image)


@transformations
@arrangements
def test_every_localisation_network_gets_a_gradient(make, transformation):
    arrangement, image = make(transformation), _image(transformation.ndim).requires_grad_()
    arrangement(image).square().sum().backward()
    assert image.grad.any()
    for name, parameter in arrangement.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@arrangements
def test_copied_pickled_and_loaded(make):
    arrangement, image = make(Affine()), _image()
    due = arrangement(image)
    assert_identical(copy.deepcopy(arrangement)(image), due)
    assert_identical(pickle.loads(pickle.dumps(arrangement))(image), due)
    other, file = make(Affine()), io.BytesIO()
    torch.save(arrangement.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_identical(other(image), due)


def test_parallel_outputs_are_those_of_each_alone():
    first, second, shared = (
        _stn(Affine(), size=7),
        _stn(Attention(), size=7),
        _stn(Attention(), size=7, start=tiled_starts(Attention(), 2)),
    )
    image = _image()
    apart, thetas = Parallel(first, second, shared, join=None)(image, return_theta=True)
    due = [first(image), second(image), *shared(image).unbind(1)]
    assert [tuple(theta.shape) for theta in thetas] == [(3, 6), (3, 3), (3, 2, 3)]
    for one, other in zip(apart, due, strict=True):
        assert_identical(one, other)
    stacked = Parallel(first, second, shared, join="stack")(image)
    assert_identical(stacked, torch.stack(due, 1))
    assert_identical(Parallel(first, second, shared)(image), torch.cat(due, 1))
    sizes = Parallel(_stn(Affine(), size=5), _stn(Affine(), size=6), join=None)(image)
    assert [tuple(v.shape[2:]) for v in sizes] == [(5, 5), (6, 6)]


def test_a_shared_localisation_network_begins_on_tiles():
    attention = Attention()
    localisation = LocalisationCNN(attention, in_channels=1, start=tiled_starts(attention, 4))
    stn = SpatialTransformer(localisation, attention, size=8)
    image = torch.rand(3, 1, 16, 16)
    outputs, theta = stn(image, return_theta=True)
    quarters = [image[..., i : i + 8, j : j + 8] for i in (0, 8) for j in (0, 8)]
    assert_close(outputs, torch.stack(quarters, 1))
    assert_identical(stn.warp(image, theta), outputs)
    assert diagnose(stn, image).values["scale"].tolist() == [0.5] * 12
    assert len(show(stn, image).axes) == 2 * 12
    loss = (outputs - torch.rand_like(outputs)).square().sum()
    loss.backward()
    rows = localisation.head.weight.grad.unflatten(0, (4, 3))
    assert rows.flatten(1).any(1).all()  # every one of the four learns


def test_a_dead_head_is_noticed_among_others():
    starts = tiled_starts(Attention(), 2)
    theta = starts + 0.1 * torch.randn(6, 2, 3)
    assert faults(Attention(), theta, [*starts]) == []
    theta[:, 1] = starts[1]
    assert faults(Attention(), theta, [*starts]) == ["still"]
    theta[:, 0] += torch.tensor([0, 5.0, 0])
    assert faults(Attention(), theta, [*starts]) == ["outside", "still"]


def test_series_multiplies_matrices():
    """Oracle: the matrices' product, and `grid_sample`; each predicted of what was read so far."""
    series, image = Series(_stn(Affine()), _stn(Affine()), _stn(Affine())), _image()
    output, thetas = series(image, return_theta=True)
    total, seen = torch.eye(3).expand(3, 3, 3), image
    for stn, theta in zip(series.transformers, thetas, strict=True):
        own = stn.localisation(seen).unflatten(1, (2, 3))
        total = total @ torch.cat((own, torch.tensor([[[0.0, 0, 1]]]).expand(3, 1, 3)), 1)
        assert_close(theta, total[:, :2].flatten(1))
        grid = F.affine_grid(total[:, :2], image.shape, align_corners=False)
        seen = F.grid_sample(image, grid, align_corners=False)
    assert_close(output, seen, rtol=0, atol=1e-4)
    assert_identical(output, series.warp(image, thetas[-1]))
    assert_close(series.warp(image, thetas[0], step=0), series.transformers[0](image))


def test_series_of_families_that_do_not_compose_chain_their_maps():
    spline, rigid = ThinPlateSpline(3), Rigid()
    series, image = Series(_stn(spline), _stn(spline), _stn(rigid)), _image()
    output, thetas = series(image, return_theta=True)
    assert [theta.shape[1] for theta in thetas] == [18, 36, 39]
    assert [type(transformation) for transformation in series.families] == [
        ThinPlateSpline,
        Compose,
        Compose,
    ]
    assert_identical(output, warp(image, thetas[-1], Compose(spline, spline, rigid)))
    other = Series(_stn(spline), _stn(spline)).double()  # their tensors move along
    assert other(image.double()).dtype == torch.float64


def test_recurrent_is_a_series_of_one():
    stn, image = _stn(Projective(), size=9), _image()
    recurrent = Recurrent(stn, 3)
    output, thetas = recurrent(image, return_theta=True)
    due, others = Series(stn, stn, stn)(image, return_theta=True)
    assert_identical(output, due)
    assert_identical(thetas[1], others[1])
    assert len({*recurrent.state_dict()}) == len(stn.state_dict())
    assert len([*recurrent.parameters()]) == len([*stn.parameters()])


def test_the_composed_map_stays_within_reach():
    far = Affine().identity() + torch.tensor([0, 0, 1.4, 0, 0, 0])
    stn = _stn(Affine(), start=far, perturbation=0.0)
    image = _image()
    _, free = Recurrent(stn, 4)(image, return_theta=True)
    assert free[-1][0, 2].item() == pytest.approx(4 * 1.4)
    held = SpatialTransformer(stn.localisation, Affine(), reach=2.0)
    _, thetas = Recurrent(held, 4)(image, return_theta=True)
    assert 1.5 < thetas[-1][0, 2].item() < 2
    right = torch.tensor([1.4, 0.0])
    shift = SpatialTransformer(
        LocalisationCNN(Translation(), in_channels=2, input_size=8, start=right), Translation()
    )
    chained = Series(held, shift, held)
    assert isinstance(chained.families[-1], Compose)
    _, thetas = chained(image, return_theta=True)
    for family, theta in zip(chained.families, thetas, strict=True):
        moved = family.transform_points(theta[:1], torch.zeros(1, 1, 2))
        assert 1.3 < moved[0, 0, 0].item() < 2


def test_a_series_of_half_turns_needs_no_logarithm():
    """exp(A) exp(B) may have none: such a family's maps are chained."""
    family = AffineExponential()
    quarter = torch.tensor([0, torch.pi / 2, 0, -torch.pi / 2, 0, 0])
    stn, image = _stn(family, start=quarter, perturbation=0.0), _image()
    output, _ = Recurrent(stn, 2)(image, return_theta=True)
    assert_close(output, image.flip(2, 3), rtol=0, atol=1e-4)


def test_a_monitor_counts_calls_and_sees_the_first_step():
    stn, image, seen = _stn(Affine()), _image(), []
    stn.observers.append(seen.append)
    _, thetas = Recurrent(stn, 3)(image, return_theta=True)
    assert len(seen) == 1
    assert_identical(seen[0], thetas[0])


def test_a_lost_transformer_is_started_anew_between_steps():
    """Weights that a step has used are not changed before its gradient is there."""
    far = Affine().identity() + torch.tensor([0, 0, 3.0, 0, 0, 0])
    localisation = LocalisationCNN(Affine(), in_channels=2, input_size=8, start=far)
    arrangement = Recurrent(SpatialTransformer(localisation, Affine()), 4)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(51):
            arrangement(_image(n=4)).square().mean().backward()
    assert any("started anew" in str(warning.message) for warning in said)


def test_the_background_is_that_of_the_image():
    image = torch.full((4, 2, 32, 32), 0.25)
    image[..., 8:24, 8:24] = 0.9
    attention = Attention()
    start = torch.tensor([0.4, 0.0, 0.0])
    crop, again = (
        SpatialTransformer(LocalisationCNN(attention, in_channels=2, start=s), attention)
        for s in (start, None)
    )
    Series(crop, again)(image)
    assert again.background.value.tolist() == [0.25, 0.25]


def test_recurrent_learns_what_one_step_does_not():
    """A blob that is further away than one step of half the way can bring it."""

    class Half(nn.Module):
        def forward(self, image):
            place = torch.linspace(-1, 1, image.shape[-1] + 1)[1:] - 1 / image.shape[-1]
            mean = (image * place).sum((1, 2, 3)) / image.sum((1, 2, 3))
            theta = Affine().identity().repeat(len(image), 1)
            theta[:, 2] = mean / 2
            return theta

    place = torch.arange(40.0)
    image = (-((place - 28) / 3).square()).exp().expand(1, 1, 5, 40)
    stn = SpatialTransformer(Half(), Affine(), Sampler(), watch=False)
    _, thetas = Recurrent(stn, 6)(image, return_theta=True)
    off = [abs(theta[0, 2].item() - 8.5 / 20) for theta in thetas]
    for before, after in pairwise(off):
        assert after == pytest.approx(before / 2, abs=2e-3)


def test_theta_is_fed_forward():
    append = AppendTheta(Affine(), width=5)
    features, theta = torch.rand(4, 7), Affine().identity() + 0.1 * torch.randn(4, 6)
    found = append(features, theta)
    told = F.relu(F.linear(theta - Affine().identity(), append.layer.weight, append.layer.bias))
    assert_close(found, torch.cat((features, told), 1))
    several = AppendTheta(Attention(), width=5, maps=2)
    assert several(features, tiled_starts(Attention(), 2).expand(4, 2, 3)).shape == (4, 12)
    assert [*several.state_dict()] == ["layer.weight", "layer.bias"]


@pytest.mark.traced
@pytest.mark.parametrize(
    ("name", "transformation"),
    [*((name, Affine()) for name in ARRANGEMENTS), ("series", Affine(3))],
)
def test_compiled_and_exported(name, transformation):
    arrangement, image = ARRANGEMENTS[name](transformation).eval(), _image(transformation.ndim)
    compile_and_compare(arrangement, [(image,)])
    export_and_compare(arrangement, [(image,), (_image(transformation.ndim, n=5),)], [(0,)])


@pytest.mark.traced
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Parallel(), "Parallel was asked for without transformers"),
        (lambda: Series(), "Series was asked for without transformers"),
        (lambda: Parallel(nn.Identity()), "Identity was given to Parallel"),
        (lambda: Series(_stn(Affine()), _stn(Affine(3))), "transformers of 2 and 3 dimensions"),
        (lambda: Parallel(_stn(Affine(), size=5), _stn(Affine(), size=6)), r"sizes \(5, 5\) and"),
        (lambda: Parallel(_stn(Affine(), size=5), _stn(Affine())), r"sizes \(5, 5\) and None"),
        (lambda: Parallel(_stn(Affine()), join="sum"), "join='sum'"),
        (lambda: Recurrent(_stn(Affine()), 0), "steps=0"),
        (lambda: Recurrent(_stn(Affine()), True), "steps=True"),
        (
            lambda: Recurrent(_stn(Affine()), 2).warp(_image(), torch.rand(3, 6), step=2),
            "step=2 of 2 was asked for",
        ),
        (lambda: _stn(Affine(), start=torch.zeros(0, 6)), r"start of shape \(0, 6\)"),
        (lambda: _stn(Affine(), start=torch.zeros(2, 5)), r"start of shape \(2, 5\)"),
        (lambda: AppendTheta(Affine(), maps=0), "maps=0"),
        *(
            (partial(AppendTheta(Affine()), *given), said)
            for given, said in [
                ((torch.rand(2, 3), torch.rand(2, 5)), r"theta of shape \(2, 5\)"),
                ((torch.rand(2, 3), torch.rand(6)), r"theta of shape \(6,\)"),
                ((torch.rand(2, 3), torch.rand(3, 6)), r"theta of shape \(3, 6\)"),
                ((torch.rand(2, 3, 4, 4), torch.rand(2, 6)), "as nn.Flatten"),
                (
                    (torch.ones(2, 3, dtype=torch.int32), torch.rand(2, 6)),
                    "torch.int32; give floats",
                ),
                ((torch.rand(2, 3), [torch.rand(2, 6)]), "as theta was given a list"),
                (([1.0], torch.rand(2, 6)), "as features was given a list"),
            ]
        ),
        (
            lambda: Series(_stn(Attention(), start=tiled_starts(Attention(), 2)))(_image()),
            r"predicts theta of shape \(3, 2, 3\)",
        ),
    ],
)
def test_refusals(make, said):
    with pytest.raises(InputError, match=said):
        make()
