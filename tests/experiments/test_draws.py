"""Keyed random numbers: uniform, and a function of their key alone."""

import numpy as np
import torch
from scipy.stats import kstest, pearsonr

from spatial_transformers.experiments.data.draws import uniform

SAMPLES = torch.arange(20_000)


def draws(sample=SAMPLES, seed=0, epoch=0, draw=0):
    return uniform(-2, 3, seed=seed, epoch=epoch, sample=sample, draw=draw).numpy()


def test_uniform():
    """Over many keys, the p-values of tests for uniformity are themselves uniform."""
    pvalues = [kstest(draws(seed=s), "uniform", args=(-2, 5)).pvalue for s in range(50)]
    assert kstest(pvalues, "uniform").pvalue > 0.01


def test_batching_does_not_matter():
    order = torch.randperm(len(SAMPLES))
    parts = np.concatenate([draws(SAMPLES[part]) for part in order.split(777)])
    assert np.array_equal(parts, draws()[order])


def test_every_part_of_the_key_matters():
    first = draws()
    for other in (draws(seed=1), draws(epoch=1), draws(draw=1), draws(SAMPLES + 1)):
        assert abs(pearsonr(first, other).statistic) < 0.03
