"""Reprs that make the same object, and configs that go through JSON."""

import copy
import json
import math
import pickle

import pytest
import torch
from torch import nn

import spatial_transformers
from grid.contract import FAMILIES, TRIANGLES, VERTICES
from spatial_transformers import (
    CPAB,
    KERNELS,
    Affine,
    AppendTheta,
    Attention,
    Compose,
    Constrained,
    Displacement,
    FreeForm,
    InputError,
    Kernel,
    Linear,
    LocalisationCNN,
    LocalisationFCN,
    Parallel,
    PiecewiseAffine,
    Projective,
    RandomWarp,
    Recurrent,
    RegressionHead,
    Rigid,
    Sampler,
    Series,
    Similarity,
    SpatialTransformer,
    Structured,
    ThinPlateSpline,
    Transformation,
    Translation,
    VelocityField,
    text_rows,
    tiled_starts,
)
from spatial_transformers import FAMILIES as NAMED
from spatial_transformers._config import Configured, class_of

PUBLIC = {name: getattr(spatial_transformers, name) for name in dir(spatial_transformers)}
TORCH = {"torch": torch, "nn": nn}

OPTIONS = {
    "half bounds": lambda: Affine(bounds={"tx": (None, 0.5), "ty": (-math.inf, 1)}),
    "nested": lambda: Compose(
        Constrained(Projective(bounds=(-2, 2)), fixed={"h13": 0.5}), ThinPlateSpline(3)
    ),
    "uneven": lambda: ThinPlateSpline((2, 5), regularisation=0.5, bounds=(-0.3, None)),
    "own points": lambda: ThinPlateSpline(text_rows(6, margin=0.1), parameters="positions"),
    "scattered 3-D": lambda: ThinPlateSpline(torch.rand(7, 3, dtype=torch.float64)),
    "cells": lambda: PiecewiseAffine((2, 3), outside="nan", bounds=(-0.1, 0.1)),
    "mesh": lambda: PiecewiseAffine(VERTICES, triangles=TRIANGLES, parameters="positions"),
    "turned cells": lambda: PiecewiseAffine(2, triangles=torch.tensor([[0, 1, 3], [0, 3, 2]])),
    "learned": lambda: Structured(torch.rand(2, 3, 4), learned=True, perspective=True),
    "open border": lambda: CPAB((2, 3), zero_boundary=False, steps=3),
    "1-D": lambda: Compose(CPAB(3, ndim=1), CPAB(2, ndim=1)),
    "dense": lambda: VelocityField((3, 4), degree=1, zero_boundary=False, resolution=5),
    "corners": lambda: Displacement(3, align_corners=True),
    "volume": lambda: FreeForm(4, ndim=3),
}
FAMILY = {family.name: family.make for family in FAMILIES if family.name != "free-form-3d"}
FAMILY |= {f"named {name}": make for name, make in NAMED.items()} | OPTIONS

attention = Attention()
LOCALISATION = {
    "cnn": lambda: LocalisationCNN(Affine(3), in_channels=2),
    "paper": lambda: LocalisationCNN.paper(Affine(), in_channels=1, perturbation=0.1),
    "cnn options": lambda: LocalisationCNN(
        Rigid(bounds=(-1, 1)), in_channels=2, input_size=(12, 20), filters=3, hidden=7, norm="batch"
    ),
    "fcn": lambda: LocalisationFCN(Translation(), in_channels=1, hidden=[4, 5], input_size=8),
    "starts": lambda: LocalisationFCN(
        attention, in_channels=1, start=tiled_starts(attention, 3), lr_multiplier=1.0
    ),
    "head": lambda: RegressionHead(5, Similarity(), start=torch.tensor([0.7, 0, 0.1, -0.3])),
    "append": lambda: AppendTheta(attention, width=3, maps=2),
}
SAMPLER = {
    "plain": Sampler,
    "options": lambda: Sampler(
        "bspline3", align_corners=True, antialias=3, gradient="linearized", backend="reference"
    ),
    "per axis": lambda: Sampler(padding_mode=("border", "wrap")),
    "fill": lambda: Sampler("nearest", padding_mode="constant", fill_value=(1, 2.5)),
    "nan": lambda: Sampler(padding_mode="constant", fill_value=math.nan),
    "tensor": lambda: Sampler(padding_mode="constant", fill_value=torch.tensor([[0.1], [0.2]])),
    "kernel": lambda: Sampler(KERNELS["bicubic"].with_phi(-0.5)),
}
LEARNED = {
    "learned": lambda: Sampler(
        KERNELS["gaussian"].learnable(),
        padding_mode="constant",
        fill_value=nn.Parameter(torch.tensor([0.1, 0.7])),
    ),
    "kernel per image": lambda: Sampler(KERNELS["gaussian"].with_phi(torch.tensor([[0.3], [2.0]]))),
}


def transformer(family=attention, **options) -> SpatialTransformer:
    localisation = LocalisationFCN(family, in_channels=2, input_size=6, hidden=[8])
    return SpatialTransformer(localisation, family, **options)


TRANSFORMER = {
    "plain": transformer,
    "options": lambda: transformer(
        Affine(bounds={"m11": (0.5, 2)}),
        sampler=Sampler("lanczos2", padding_mode="border"),
        size=(5, 7),
        reach=None,
        theta_clip=None,
        watch=False,
    ),
    "limits": lambda: transformer(ThinPlateSpline(3), size=9, reach=0.3, theta_clip=7.0),
    "learned": lambda: transformer(Structured(torch.rand(1, 3, 3), learned=True)),
    "series": lambda: Series(transformer(), transformer(Affine())),
    "recurrent": lambda: Recurrent(transformer(Projective()), steps=2),
    "parallel": lambda: Parallel(transformer(size=5), transformer(Rigid(), size=5), join="stack"),
    "list": lambda: Parallel(transformer(size=5), transformer(size=(4, 6)), join=None),
}


def through_json(module: Configured) -> Configured:
    """Return the module of a config that was written and read."""
    written = json.dumps(module.to_config(), allow_nan=False)
    return type(module).from_config(json.loads(written))


def moved(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return module


def assert_same_map(family: Transformation, other: Transformation):
    assert type(family) is type(other)
    assert [*family.entries] == [*other.entries]
    theta = family.identity()[None] + 0.02 * torch.rand(2, family.num_parameters)
    size = (5, 7, 4)[: family.ndim]
    assert torch.equal(
        family.grid(theta, size).nan_to_num(9), other.grid(theta, size).nan_to_num(9)
    )


def assert_same_values(module: nn.Module, other: nn.Module, *given):
    outputs, others = module(*given), other(*given)
    pairs = [(outputs, others)] if torch.is_tensor(outputs) else zip(outputs, others, strict=True)
    for one, another in pairs:
        assert one.shape == another.shape
        assert torch.equal(one.nan_to_num(9), another.nan_to_num(9))


@pytest.mark.parametrize("make", FAMILY.values(), ids=FAMILY)
def test_a_family_is_made_again(make):
    family = make()
    for other in (eval(repr(family), dict(PUBLIC)), through_json(family)):
        assert repr(other) == repr(family)
        assert other.to_config() == family.to_config()
        assert_same_map(family, other)


@pytest.mark.parametrize("make", LOCALISATION.values(), ids=LOCALISATION)
def test_a_localisation_network_is_made_again(make):
    module = moved(make()).eval()
    for other in (eval(repr(module), dict(PUBLIC)), through_json(module)):
        other.eval().load_state_dict(module.state_dict())
        assert repr(other) == repr(module)
        assert other.to_config() == module.to_config()
        if isinstance(module, AppendTheta):
            given = torch.rand(3, 4), torch.rand(3, 2, 3)
        elif isinstance(module, RegressionHead):
            given = (torch.rand(3, 5),)
        else:
            given = (torch.rand(3, module.in_channels, *(n + 2 for n in module.input_size)),)
        assert_same_values(module, other, *given)


@pytest.mark.parametrize("make", [*SAMPLER.values(), *LEARNED.values()], ids=SAMPLER | LEARNED)
def test_a_sampler_is_made_again(make):
    sampler = make()
    names = PUBLIC if make in SAMPLER.values() else PUBLIC | TORCH  # what is learned is torch's
    for other in (eval(repr(sampler), dict(names)), through_json(sampler)):
        other.load_state_dict(sampler.state_dict())
        assert repr(other) == repr(sampler)
        assert [n for n, _ in other.named_parameters()] == [
            n for n, _ in sampler.named_parameters()
        ]
        assert_same_values(sampler, other, torch.rand(2, 2, 5, 6), 3 * torch.rand(2, 4, 4, 2) - 1.5)
    assert through_json(sampler).to_config() == sampler.to_config()


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_made_again(name):
    distances = torch.linspace(-4, 4, 50)
    for kernel in (KERNELS[name], copy.deepcopy(KERNELS[name])):
        for other in (eval(repr(kernel), dict(PUBLIC)), through_json(kernel)):
            assert repr(other) == repr(kernel) == f"KERNELS[{name!r}]"
            assert torch.equal(other(distances, other.phi), kernel(distances, kernel.phi))


def test_a_kernel_of_another_phi_or_of_ones_own_says_so():
    assert repr(KERNELS["gaussian"].with_phi(0.7)) == "KERNELS['gaussian'].with_phi((0.7,))"

    def hann(d):
        return (d * math.pi / 2).cos() ** 2

    assert repr(Kernel(hann, 1)) == "Kernel(hann, 1.0)"
    made = eval(repr(Kernel(hann, 1.5, normalise=False, name="bell")), PUBLIC | {"hann": hann})
    assert repr(made) == "Kernel(hann, 1.5, normalise=False, name='bell')"
    bell = Kernel(hann, 0.5, normalise=False, name="bilinear")
    assert repr(bell) == "Kernel(hann, 0.5, normalise=False, name='bilinear')"


@pytest.mark.parametrize("make", TRANSFORMER.values(), ids=TRANSFORMER)
def test_a_transformer_is_made_again(make):
    module, image = moved(make()), torch.rand(2, 2, 8, 9)
    module(image)  # the background is estimated
    other = through_json(module)
    assert other.to_config() == module.to_config()
    other.load_state_dict(module.state_dict())
    assert repr(other) == repr(module)
    module.eval(), other.eval()
    assert_same_values(module, other, image)
    trained = [m for m in other.modules() if isinstance(m, SpatialTransformer)]
    twins = [m for m in module.modules() if isinstance(m, SpatialTransformer)]
    assert [len(m.observers) for m in trained] == [len(m.observers) for m in twins]
    assert [m.theta_clip is None for m in trained] == [m.theta_clip is None for m in twins]


def test_a_random_warp_is_made_again():
    augment = RandomWarp(rotation=(-30, 30), flip=(0.5, 0), bend=0.02, size=9, seed=3)
    image = torch.rand(2, 3, 9, 9)
    assert torch.equal(through_json(augment)(image, key=range(2)), augment(image, key=range(2)))


def test_configs_and_reprs_are_of_what_a_module_is_now():
    spline, other = (
        ThinPlateSpline(3),
        ThinPlateSpline(text_rows(8)[[0, 1, 2, 3, 4, 5, 6, 7, 7]][:8]),
    )
    scattered = ThinPlateSpline(other.points * torch.tensor([1.0, 0.5]))
    scattered.load_state_dict(other.state_dict())
    assert repr(scattered) == "ThinPlateSpline(points=(2, 4))"
    bounded = Affine(bounds=(-2, 2))
    assert repr(bounded.without_bounds()) == "Affine(ndim=2)"
    assert spline.to_config()["points"] == [3, 3]


def test_copies_say_the_same():
    stn = transformer(Affine(bounds=(-3, 3)), size=5)
    for twin in (copy.deepcopy(stn), pickle.loads(pickle.dumps(stn))):
        assert twin.to_config() == stn.to_config()
        assert repr(twin.localisation) == repr(stn.localisation)


def test_a_localisation_network_has_no_part_of_its_transformation():
    family = Structured(torch.rand(1, 3, 3), learned=True)
    names = LocalisationFCN(family, in_channels=1).state_dict()
    assert not any("functions" in name for name in names)


def test_a_config_says_everything_by_name():
    assert Affine(3, bounds={"tx": (-1, None)}).to_config() == {
        "version": 1,
        "class": "Affine",
        "ndim": 3,
        "parameters": "matrix",
        "bounds": {"tx": [-1, None]},
    }
    everything = {n for n in PUBLIC if class_of(n) is not None}
    assert everything == {
        *(c.__name__ for c in map(type, (make() for make in FAMILY.values()))),
        *("Polar", "LogPolar", "AffineExponential", "LocalisationCNN", "LocalisationFCN", "Kernel"),
        *("RegressionHead", "AppendTheta", "Sampler", "SpatialTransformer", "Parallel", "Series"),
        *("Recurrent", "RandomWarp"),
    }


def test_what_a_config_lacks_has_its_default():
    assert repr(Transformation.from_config({"class": "Affine"})) == "Affine(ndim=2)"


class Bend(Linear):
    """A family of someone's own."""

    entries = ("bend",)

    def __init__(self, ndim=2, *, height=1.0, hidden=3):
        super().__init__(ndim)
        self.height = height

    def identity(self):
        return torch.zeros(1)

    def describe(self, theta):
        return {}

    def _matrix(self, values):
        return torch.eye(2, 3).expand(len(values), 2, 3)


def test_a_family_of_ones_own_has_a_repr_and_a_config_where_it_keeps_its_options():
    assert repr(Bend(height=2.0)) == "Bend(ndim=2, height=2.0)"
    with pytest.raises(InputError, match="Bend was asked for, which does not keep its 'hidden'"):
        Bend().to_config()
    family = Bend(height=2.0)
    family.hidden = 4
    assert repr(Bend.from_config(family.to_config())) == "Bend(ndim=2, height=2.0)"
    with pytest.raises(InputError, match="outer of Compose is a Bend, which a config cannot hold"):
        Compose(family, Affine()).to_config()


STN = {"class": "SpatialTransformer", "transformation": {"class": "Affine"}}
CNN = {"class": "LocalisationCNN", "transformation": {"class": "Affine"}, "in_channels": 1}
BAD = {
    "no mapping": (Affine, ["Affine"], "a list; give a mapping"),
    "newer": (Affine, {"class": "Affine", "version": 2}, "version 2.*versions up to 1; install"),
    "version": (Affine, {"class": "Affine", "version": "1"}, "of version '1'"),
    "newer inside": (Sampler, {"class": "Sampler", "mode": {"class": "Kernel", "version": 9}}, "9"),
    "no class": (Affine, {}, "class is None; give one of Affine"),
    "unknown class": (Transformation, {"class": "Afine"}, "class is 'Afine'; give one of Affine, "),
    "abstract": (Transformation, {"class": "Linear"}, "class is 'Linear'; give one of"),
    "other class": (Sampler, {"class": "Affine"}, "class is 'Affine'; give one of Sampler"),
    "code": (Transformation, {"class": "os.system"}, "class is 'os.system'; give"),
    "module": (Transformation, {"class": "grid"}, "class is 'grid'; give"),
    "private": (Transformation, {"class": "_public"}, "class is '_public'; give"),
    "function": (Configured, {"class": "export"}, "class is 'export'; give"),
    "base": (SpatialTransformer, STN | {"localisation": {"class": "Configured"}}, "'Configured'"),
    "class is a list": (Affine, {"class": ["Affine"]}, r"class is \['Affine'\]; give"),
    "unknown key": (
        Affine,
        {"class": "Affine", "shear": 1},
        "'shear'.*keys are .*ndim, parameters",
    ),
    "missing": (FreeForm, {"class": "FreeForm"}, "without 'lattice'"),
    "type": (Affine, {"class": "Affine", "ndim": "2"}, "ndim='2'; give int"),
    "truth": (Affine, {"class": "Affine", "ndim": True}, "ndim=True; give int"),
    "number": (Attention, {"class": "Attention", "per_axis": 1}, "per_axis=1; give bool"),
    "range": (Affine, {"class": "Affine", "ndim": 7}, "ndim is 2 or 3"),
    "name": (Affine, {"class": "Affine", "parameters": "matix"}, "give 'matrix' | 'geometric'"),
    "bounds": (Affine, {"class": "Affine", "bounds": [1, 2, 3]}, r"bounds=\(1, 2, 3\); give"),
    "norm": (LocalisationCNN, CNN | {"norm": "layer"}, "give 'group' | 'batch' | None"),
    "part": (
        LocalisationCNN,
        CNN | {"transformation": {"class": "Sampler"}},
        "give Transformation",
    ),
    "width": (LocalisationCNN, CNN | {"filters": [0]}, "filters=0 was given"),
    "start": (LocalisationCNN, CNN | {"start": [1.0, 2.0]}, "give .* a θ of 6 finite numbers"),
    "ragged": (Structured, {"class": "Structured", "basis": [[1, 2], [3]]}, "no table of numbers"),
    "dtype": (
        Structured,
        {"class": "Structured", "basis": {"class": "Tensor", "numbers": [[["a"]]]}},
        "give lists of numbers, and a dtype",
    ),
    "mode": (Sampler, {"class": "Sampler", "mode": "bilinaer"}, "'bilinaer'"),
    "kernel": (Sampler, {"class": "Sampler", "mode": {"class": "Kernel", "name": "x"}}, "mode 'x'"),
    "kernel key": (Kernel, {"class": "Kernel", "weight": "x"}, "'weight'.*keys are .*name, phi"),
    "nobody": (Parallel, {"class": "Parallel", "transformers": []}, "give one or more"),
    "several": (Parallel, {"class": "Parallel", "transformers": [3]}, "give Sequence"),
    "too large": (
        LocalisationFCN,
        {**CNN, "class": "LocalisationFCN", "hidden": [10**9, 10**9]},
        "with which none can be made",
    ),
}


@pytest.mark.traced  # wrong types
@pytest.mark.parametrize(("kind", "config", "message"), BAD.values(), ids=BAD)
def test_a_wrong_config_is_refused_in_a_line(kind, config, message):
    with pytest.raises(InputError, match=message) as error:
        kind.from_config(config)
    assert "\n" not in str(error.value)


def test_a_config_that_is_nested_without_end_is_refused():
    config = {"class": "Affine"}
    for _ in range(3000):
        config = {"class": "Constrained", "transformation": config, "fixed": {}}
    with pytest.raises(InputError, match="nested too deeply"):
        Transformation.from_config(config)


def test_what_no_config_holds_is_refused():
    stn = SpatialTransformer(nn.Linear(3, 3), attention)
    with pytest.raises(InputError, match="localisation of SpatialTransformer is a Linear"):
        stn.to_config()
    with pytest.raises(InputError, match="kernel 'cos', whose weight function is code"):
        Sampler(Kernel(torch.cos, 1)).to_config()
    with pytest.raises(InputError, match="basis of Structured is on the meta device"):
        Structured(torch.rand(1, 3, 3)).to("meta").to_config()
