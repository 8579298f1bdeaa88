"""Keyed random numbers: of their distribution, and a function of their key alone."""

from dataclasses import replace

import numpy as np
import torch
from scipy.stats import chisquare, kstest, pearsonr

from spatial_transformers._draws import _mix
from spatial_transformers.experiments.data.draws import Draws

SAMPLES = torch.arange(20_000)


def draws(sample=SAMPLES, seed=0, epoch=0, purpose="angle"):
    return Draws(seed, epoch, sample).uniform(purpose, -2, 3)[:, 0].numpy()


def test_uniform():
    """Over many keys, the p-values of tests for uniformity are themselves uniform."""
    pvalues = [kstest(draws(seed=s), "uniform", args=(-2, 5)).pvalue for s in range(50)]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_normal():
    found = [Draws(s, 0, SAMPLES).normal("x", 2.0)[:, 0].numpy() for s in range(50)]
    pvalues = [kstest(numbers, "norm", args=(0, 2)).pvalue for numbers in found]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_integers():
    found = Draws(0, 0, SAMPLES).integers("x", 3, 8, 2)
    counts = np.bincount(found.flatten().numpy(), minlength=9)
    assert counts[[0, 1, 2, 8]].sum() == 0
    assert chisquare(counts[3:8]).pvalue > 0.01


def test_batching_does_not_matter():
    order = torch.randperm(len(SAMPLES))
    parts = np.concatenate([draws(SAMPLES[part]) for part in order.split(777)])
    assert np.array_equal(parts, draws()[order])


def test_every_part_of_the_key_matters():
    first = draws()
    for other in (draws(seed=1), draws(epoch=1), draws(purpose="x"), draws(SAMPLES + 1)):
        assert abs(pearsonr(first, other).statistic) < 0.03


def test_several_numbers_of_one_purpose_differ():
    first, second = Draws(0, 0, SAMPLES).uniform("x", 0, 1, 2).numpy().T
    assert abs(pearsonr(first, second).statistic) < 0.03
    assert np.array_equal(first, Draws(0, 0, SAMPLES).uniform("x", 0, 1)[:, 0].numpy())


def test_mixing_is_splitmix64():
    """The published first outputs of SplitMix64 with seed 0."""
    golden = torch.tensor([k * 0x9E3779B97F4A7C15 % 2**64 for k in (1, 2)], dtype=torch.uint64)
    found = _mix(golden.view(torch.int64)).view(torch.uint64).tolist()
    assert found == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_spread_narrows_about_the_middle():
    whole = Draws(0, 0, torch.arange(4000))
    narrow = replace(whole, spread=0.25)
    for low, high in (-90, 90), (0.7, 1.2):
        found, middle = narrow.uniform("x", low, high), (low + high) / 2
        torch.testing.assert_close(found, middle + 0.25 * (whole.uniform("x", low, high) - middle))
    torch.testing.assert_close(narrow.normal("x", 2.0), 0.25 * whole.normal("x", 2.0))
    assert set(narrow.integers("x", 0, 8).flatten().tolist()) == {3, 4}
