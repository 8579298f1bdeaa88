"""Random warps of samples; oracles: the warped image itself, and what was asked for."""

import copy
import pickle
from collections import namedtuple

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.testing import assert_close
from torch.utils.data import DataLoader, default_collate

from augmentation.cases import EVERYTHING, SIZE, smooth
from equality import assert_identical
from spatial_transformers import (
    CPAB,
    FreeForm,
    RandomWarp,
    Sampler,
    VelocityField,
    sample,
    warp,
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Affine"),
        ({"perspective": (-0.1, 0.1)}, "Projective"),
        ({"bend": 0.1}, "ThinPlateSpline"),
        ({"bend": 0.1, "rotation": (0, 5)}, "Compose"),
    ],
)
def test_theta_is_of_the_transformation(options, expected):
    augment = RandomWarp(**options)
    image = torch.rand(3, 2, *SIZE)
    found, theta = augment(image, return_theta=True)
    assert type(augment.transformation).__name__ == expected
    assert_identical(found, warp(image, theta, augment.transformation))


@pytest.mark.parametrize("coordinates", ["normalised", "pixels", "edges"])
@pytest.mark.parametrize("size", [None, (50, 45)])
def test_points_land_where_the_content_does(coordinates, size):
    """An image of its own coordinates shows, where a point landed, where the point was."""
    augment = RandomWarp(**EVERYTHING, coordinates=coordinates, size=size)
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in SIZE), indexing="ij")
    pixels = torch.tensor([[25.0, 15.0], [35.0, 22.0], [31.5, 27.25]]).double()
    edges = pixels + 0.5
    normalised = 2 * edges / torch.tensor(SIZE[::-1]) - 1
    given = {"normalised": normalised, "pixels": pixels, "edges": edges}[coordinates]
    for key in range(6):
        found = augment({"image": torch.stack((x, y)), "points": given}, key=key)
        image, points = found["image"], found["points"]
        if coordinates == "normalised":
            points = (points + 1) / 2 * torch.tensor(image.shape[:0:-1])
        points = points - (0 if coordinates == "pixels" else 0.5)
        rows_before_columns = points.flip(1).mT.numpy()
        shown = [
            map_coordinates(channel.numpy(), rows_before_columns, order=1) for channel in image
        ]
        assert_close(np.stack(shown, 1), pixels.numpy(), rtol=0, atol=0.02)


def test_boxes_enclose_what_they_did():
    augment = RandomWarp(**(EVERYTHING | {"perspective": (0, 0)}), coordinates="edges")
    mask = torch.zeros(1, *SIZE, dtype=torch.uint8)
    mask[0, 12:27, 20:45] = 1
    boxes = torch.tensor([[20, 12, 45, 27]])
    for key in range(6):
        image, found, box = augment((mask.float(), mask, boxes), key=key)
        rows, columns = found[0].nonzero().unbind(1)
        shown = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        assert_close(box[0], shown.float(), rtol=0, atol=1.0)
        agree = (image[0] > 0.5) == found[0].bool()
        assert agree.float().mean() > 0.99


def test_masks_keep_their_labels_and_agree_with_images():
    labels = torch.randint(0, 200, (4, *SIZE), dtype=torch.uint8)
    augment = RandomWarp(**EVERYTHING, sampler=Sampler("nearest", padding_mode="border"))
    image, mask = augment((labels[:, None].float(), labels))
    assert_identical(image[:, 0].byte(), mask)
    for given in (labels.long(), labels > 100, labels.float()):
        assert augment((labels[:, None].float(), given))[1].dtype == given.dtype
    ignored = RandomWarp(
        scale=(0.5, 0.5),
        mask_sampler=Sampler("nearest", padding_mode="constant", fill_value=255),
    )
    assert (ignored((labels[0].float()[None], labels[0]))[1][0] == 255).all()


def test_masks_of_other_resolutions_and_many_channels():
    augment = RandomWarp(rotation=(-90, 90), size=(20, 30))
    image, small, objects = torch.rand(3, *SIZE), torch.rand(10, 16), torch.rand(5, *SIZE)
    found = augment({"image": image, "mask": small, "masks": objects})
    assert [tuple(found[n].shape) for n in found] == [(3, 20, 30), (20, 30), (5, 20, 30)]


@pytest.mark.parametrize("mode", ["bilinear", "lanczos3"])
def test_integer_images_are_rounded(mode):
    image = (torch.rand(2, 3, *SIZE) > 0.5).byte() * 255
    augment = RandomWarp(**EVERYTHING, sampler=Sampler(mode))
    keys = torch.tensor([4, 5])
    expected = augment(image.float(), key=keys).round().clamp(0, 255)
    assert_identical(augment(image, key=keys), expected.byte())
    deep = image.to(torch.int32) * 100_000
    assert augment(deep, key=keys).dtype == torch.int32


def test_output_size_reads_the_same_content():
    """A warp to another size is one in place that is seen with other pixels."""
    image = torch.from_numpy(smooth(SIZE))[None]
    small = RandomWarp(**EVERYTHING, size=(20, 32), sampler=Sampler(padding_mode="border"))
    whole = RandomWarp(**EVERYTHING, sampler=Sampler(padding_mode="border"))
    halved = torch.nn.functional.avg_pool2d(whole(image, key=3)[None], 2)[0]
    assert_close(small(image, key=3), halved, rtol=0, atol=0.02)


def test_boxes_of_each_image_in_a_list():
    augment = RandomWarp(flip=(1, 0))
    boxes = [torch.tensor([[-1.0, -1.0, 0.0, 0.0]]), torch.zeros(0, 4), torch.rand(3, 4)]
    found = augment({"images": torch.rand(3, 1, 8, 8), "boxes": boxes})["boxes"]
    assert [len(b) for b in found] == [1, 0, 3]
    assert_close(found[0], torch.tensor([[0.0, -1.0, 1.0, 0.0]]))
    assert augment((torch.rand(2, 1, 8, 8), None, torch.zeros(2, 0, 4)))[2].shape == (2, 0, 4)


def test_samples_come_back_as_they_were_given():
    augment = RandomWarp(flip=(1, 0))
    image, mask = torch.rand(3, 8, 8), torch.ones(8, 8, dtype=torch.long)
    pair = namedtuple("Pair", ("image", "label"))(image, 3)
    assert type(augment(pair)) is type(pair)
    assert augment(pair).label == 3
    assert isinstance(augment([image, mask]), list)
    nested = {"image": image, "name": "a", "target": {"masks": mask, "label": torch.ones(4, 4)}}
    found = augment(nested)
    assert_close(found["image"], image.flip(2))
    assert found["target"]["masks"].shape == (8, 8)
    assert found["target"]["label"] is nested["target"]["label"]
    images, labels = torch.rand(5, 3, 8, 8), torch.arange(5)
    assert augment((images, labels))[1] is labels


def test_a_key_draws_the_same_in_any_batch():
    augment, images = RandomWarp(**EVERYTHING), torch.rand(6, 1, *SIZE)
    keys = torch.tensor([5, -3, 2**62, 0, 1, 5])
    whole, theta = augment(images, key=keys, return_theta=True)
    assert_identical(theta[0], theta[5])
    order = torch.tensor([3, 1, 0])
    assert_identical(augment(images[order], key=keys[order]), whole[order])
    alone, own = augment(images[1], key=-3, return_theta=True)
    assert_identical(own, theta[1:2])
    assert_close(alone, whole[1])
    assert_identical(augment(images, key=keys.tolist()), whole)
    other = RandomWarp(**EVERYTHING, seed=1)(images, key=keys, return_theta=True)[1]
    assert not torch.isclose(theta[:, :6], other[:, :6]).any()


def test_generators_are_seeded():
    augment, images = RandomWarp(**EVERYTHING), torch.rand(3, 1, *SIZE)

    def by(seed):
        return augment(images, generator=torch.Generator().manual_seed(seed))

    assert_identical(by(1), by(1))
    assert not torch.equal(by(1), by(2))
    torch.manual_seed(3)
    first, second = augment(images), augment(images)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert_identical(augment(images), first)


class Angles(torch.utils.data.Dataset):
    """θ of a warp, by the index as the key or by the worker's generator."""

    def __init__(self, keyed):
        self.keyed, self.augment = keyed, RandomWarp(**EVERYTHING)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        key = index if self.keyed else None
        return self.augment(torch.zeros(1, *SIZE), key=key, return_theta=True)[1][0]


def collated(samples):
    return RandomWarp(rotation=(-9, 9))(default_collate(samples)[:, None, None])


@pytest.mark.traced  # workers import the package anew
def test_workers_draw_for_themselves():
    def loaded(keyed, workers):
        return torch.cat([*DataLoader(Angles(keyed), 2, num_workers=workers)])

    free = loaded(False, 2)
    assert len(free[:, 0].unique()) == 8
    assert_identical(loaded(True, 2), loaded(True, 0))
    batch = next(iter(DataLoader([*torch.rand(4, 12)], 4, collate_fn=collated)))
    assert batch.shape == (4, 1, 1, 12)


FAMILIES = [FreeForm((5, 6)), VelocityField((3, 3)), "cpab", None]


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_copies_and_the_repr_are_the_same_warp(family):
    options = {"bend": 0.05, "rotation": (-10, 10), "family": family, "size": (9, 12)}
    augment = RandomWarp(**options, sampler=Sampler("bicubic", padding_mode="border"))
    image = torch.rand(2, 1, *SIZE)
    expected = augment(image, key=(1, 2))
    read = eval(repr(augment))
    for other in (read, copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        assert repr(other) == repr(augment)
        assert_identical(other(image, key=(1, 2)), expected)
    assert repr(RandomWarp(rotation=(-10, 10))) == "RandomWarp(rotation=(-10, 10))"


def test_nothing_happens_in_eval_mode_and_where_p_is_0():
    image = torch.rand(2, 3, *SIZE)
    for augment in (RandomWarp(**EVERYTHING).eval(), RandomWarp(**EVERYTHING, p=0)):
        assert_identical(augment(image), image)
    assert RandomWarp(**EVERYTHING, size=8).eval()(image).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("family", [FreeForm(5, ndim=3), CPAB(2, ndim=3), None], ids=str)
def test_volumes_bend(family):
    options = {"rotation": (-10, 10), "bend": 0.02, "family": family}
    augment = RandomWarp(ndim=3, **options, coordinates="pixels")
    volume, points = torch.rand(2, 1, 8, 9, 10), torch.rand(2, 4, 3) * 6
    boxes = torch.tensor([[[1.0, 2, 3, 4, 5, 6]]]).expand(2, -1, -1)
    image, mask, found, there = augment((volume, volume[:, 0] > 0.5, boxes, points))
    assert (image.shape, mask.dtype, found.shape) == (volume.shape, torch.bool, (2, 1, 6))
    assert there.isfinite().all()


def test_the_image_has_a_gradient_and_its_dtype():
    image = torch.rand(2, 1, *SIZE, dtype=torch.float64, requires_grad=True)
    found, theta = RandomWarp(**EVERYTHING)(image, return_theta=True)
    found.sum().backward()
    assert image.grad.abs().sum() > 0
    assert theta.dtype == torch.float64
    assert not theta.requires_grad
    assert RandomWarp(**EVERYTHING)(torch.rand(1, 8, 8).half()).dtype == torch.float16


def test_an_inverse_leads_back():
    augment = RandomWarp(**(EVERYTHING | {"bend": 0}))
    image = torch.from_numpy(smooth(SIZE))[None, None]
    there, theta = augment(image, return_theta=True)
    back = warp(there, augment.transformation.inverse(theta), augment.transformation)
    inside = slice(12, 28), slice(20, 44)
    assert_close(back[0, 0][inside], image[0, 0][inside], rtol=0, atol=0.03)


@pytest.mark.traced
@pytest.mark.parametrize(
    "options", [pytest.param(EVERYTHING, marks=pytest.mark.only_all), {"rotation": (-20, 20)}]
)
def test_compiles(options):
    augment, images = RandomWarp(**options), torch.rand(2, 1, *SIZE)
    keys = torch.tensor([3, 4])
    compiled = torch.compile(augment, backend="aot_eager", fullgraph=True)
    points = torch.zeros(2, 1, 2)
    found, theta = compiled((images, None, None, points), key=keys, return_theta=True)
    expected = augment((images, None, None, points), key=keys)
    assert_close(found[0], expected[0], rtol=0, atol=1e-4)
    assert_close(found[3], expected[3], rtol=0, atol=1e-4)
    assert_close(
        sample(images, augment.transformation.grid(theta, SIZE)), found[0], atol=1e-3, rtol=0
    )
    drawn_anew = compiled(images, return_theta=True)[1]
    assert not torch.equal(drawn_anew, theta)
