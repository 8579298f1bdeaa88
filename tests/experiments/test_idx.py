"""idx files: what a writer of the official layout wrote is read back; damage is named."""

import gzip

import numpy as np
import pytest

from spatial_transformers import InputError
from spatial_transformers.experiments.data.idx import read_idx, read_images_and_labels

from .mnist import write_idx, write_mnist


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_round_trip(tmp_path, ending):
    array = np.random.default_rng(0).integers(0, 256, (5, 3, 4))
    write_idx(tmp_path / f"x{ending}", array)
    assert read_idx(tmp_path / f"x{ending}", axes=3).tolist() == array.tolist()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_images_and_labels(tmp_path, ending):
    images, labels = read_images_and_labels(write_mnist(tmp_path, ending=ending), "t10k")
    assert images.shape == (32, 1, 28, 28)
    assert labels[:11].tolist() == [*range(10), 0]


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"neither train-images-idx3-ubyte nor .*\.gz is there"):
        read_images_and_labels(tmp_path, "train")


def test_different_counts(tmp_path):
    write_mnist(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.zeros(31))
    with pytest.raises(InputError, match="32 images and 31 labels"):
        read_images_and_labels(tmp_path, "t10k")


def test_truncated_plain_file(tmp_path):
    write_idx(tmp_path / "x", np.zeros((5, 3, 4)))
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-7])
    with pytest.raises(InputError, match="promises 60 bytes and 53 follow"):
        read_idx(tmp_path / "x", axes=3)


def test_truncated_gzip_file(tmp_path):
    path = write_mnist(tmp_path) / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged gzip file"):
        read_idx(path, axes=3)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"<html>not found</html>"])
def test_something_else(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match="not an idx file"):
        read_idx(tmp_path / "x.gz", axes=3)
    (tmp_path / "y.gz").write_bytes(content or b"?")
    with pytest.raises(InputError, match="damaged gzip file"):
        read_idx(tmp_path / "y.gz", axes=3)
