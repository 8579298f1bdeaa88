"""Tasks: losses and scores against their definitions, sample by sample."""

import pytest
import torch
import torch.nn.functional as F

from spatial_transformers import InputError
from spatial_transformers.experiments.task import Classification, Regression, TripletHinge


def test_one_softmax():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    task = Classification(4, label_smoothing=0.1)
    due = F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.equal(task.loss(logits, None, labels), due)
    scores = task.scores(logits, None, labels)["error"]
    assert scores.tolist() == [
        row.argmax() != label for row, label in zip(logits, labels, strict=True)
    ]
    assert task.groups(labels) is labels


def test_several_softmaxes():
    """A number is wrong where one of its digits is."""
    digits = torch.tensor([[1, 2, 0], [3, 0, 0], [2, 2, 2]])
    logits = F.one_hot(digits, 4).float()
    logits[1, 2] = torch.tensor([0.0, 1, 0, 0])
    task = Classification(4)
    due = torch.stack([F.cross_entropy(logits[:, k], digits[:, k]) for k in range(3)]).mean()
    torch.testing.assert_close(task.loss(logits, None, digits), due)
    assert task.scores(logits, None, digits)["error"].tolist() == [False, True, False]
    assert task.captions(logits, digits)[1] == "3 0 0, read as 3 0 1"
    assert task.groups(digits).tolist() == [1, 3, 2]


def test_labels_beyond_the_classes():
    with pytest.raises(InputError, match="here: a label of 4 was found; toys has the classes 0 to"):
        Classification(4).check(torch.tensor([0, 4]), "here", "toys")


def test_regression():
    found, due = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    task = Regression("mm")
    (metric,) = task.metrics
    mean = sum((a - b) ** 2 for a, b in zip(found.flatten(), due.flatten(), strict=True)) / 15
    torch.testing.assert_close(task.loss(found, None, due), mean)
    total = metric.total(task.scores(found, None, due)["rmse"])
    assert total == pytest.approx(mean.sqrt().item())
    assert metric.label == "root mean square error (mm)"


def test_triplet_hinge():
    codes, margin = torch.randn(5, 2, 3, dtype=torch.float64), 0.7
    crops, patches = codes.unbind(1)
    hinges = [
        max(0, (crops[n] - crops[m]).norm() ** 2 - (crops[n] - patches[n]).norm() ** 2 + margin)
        for n in range(5)
        for m in range(5)
        if m != n
    ]
    task = TripletHinge(margin)
    torch.testing.assert_close(task.loss(codes, None, torch.zeros(5)), sum(hinges))
    scores = task.scores(codes, None, torch.zeros(5))["violated"]
    assert task.metrics[0].total(scores) == pytest.approx(100 * sum(h > 0 for h in hinges) / 20)
