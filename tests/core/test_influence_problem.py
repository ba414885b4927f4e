"""The head problem against autograd, in any chunks, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads import assert_close, digits_head, tiny_problem
from torch import nn
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.images import ImageSet
from imu_core.influence import HeadProblem, explicit_hessian, head_problem
from imu_core.networks import build_network
from imu_core.networks.classifier import Classifier


def objective(problem: HeadProblem, theta: torch.Tensor) -> torch.Tensor:
    """J written anew, for autograd."""
    inputs = problem.inputs(problem.features)
    losses = functional.cross_entropy(inputs @ theta.T, problem.labels, reduction="none")
    if problem.counted is not None:
        losses = losses * problem.counted
    return losses.sum() / problem.n + problem.damping / 2 * theta.square().sum()


CASES = {
    "all": tiny_problem(),
    "no bias": tiny_problem(bias=False),
    "some taken out": tiny_problem().without(torch.tensor([0, 1, 7, 29])),
    "in chunks": tiny_problem(chunk_rows=7).without(torch.tensor([2, 13])),
}


@pytest.mark.parametrize("case", CASES)
def test_value_gradient_and_hessian_are_those_of_autograd(case: str) -> None:
    problem = CASES[case]
    theta = problem.theta
    assert problem.objective() == pytest.approx(float(objective(problem, theta)), rel=1e-12)

    variable = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(problem, variable), variable, create_graph=True)
    assert_close(problem.gradient(), gradient.detach(), rtol=1e-10, atol=1e-12)

    rows = [
        torch.autograd.grad(entry, variable, retain_graph=True)[0] for entry in gradient.view(-1)
    ]
    flat = torch.stack(rows).flatten(1)
    assert_close(explicit_hessian(problem), flat, rtol=1e-10, atol=1e-12)

    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(5, *theta.shape, generator=generator, dtype=torch.float64)
    products = (vectors.flatten(1) @ flat).view_as(vectors)
    assert_close(problem.hessian_times(vectors), products, rtol=1e-10, atol=1e-12)


def test_gradients_of_single_pictures_are_those_of_autograd() -> None:
    problem = tiny_problem()
    chunk = problem.chunk_of(slice(0, problem.n))
    ours = chunk.residuals[:, :, None] * chunk.inputs[:, None]

    theta = problem.theta.clone().requires_grad_()
    losses = functional.cross_entropy(
        problem.inputs(problem.features) @ theta.T, problem.labels, reduction="none"
    )
    each = [torch.autograd.grad(loss, theta, retain_graph=True)[0] for loss in losses]
    assert_close(ours, torch.stack(each))
    ids = torch.tensor([3, 4, 20])
    assert_close(problem.gradient_of(ids), ours[ids].sum(0) / problem.n)


def test_chunks_change_nothing_on_real_digits() -> None:
    whole, _ = digits_head()
    cut = HeadProblem(
        whole.features, whole.labels, whole.weight, whole.bias, whole.damping, chunk_rows=100
    )
    assert len(list(whole.chunks())) == 1
    assert len(list(cut.chunks())) == 15
    vectors = torch.randn(
        2, 10, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    assert_close(cut.gradient(), whole.gradient(), rtol=0, atol=1e-14)
    assert_close(cut.hessian_times(vectors), whole.hessian_times(vectors))
    assert_close(explicit_hessian(cut), explicit_hessian(whole))


def test_memory_of_the_largest_case_stays_bounded_by_the_chunk() -> None:
    """The arithmetic of the docstring, for 1.28 million pictures, d = 2,048 and 1,000 classes."""
    problem = HeadProblem(torch.zeros(2, 2048), torch.arange(2), torch.zeros(1000, 2048))
    with_bias = HeadProblem(problem.features, problem.labels, problem.weight, problem.weight[:, 0])
    assert with_bias.n_weights == 2_049_000
    rows = with_bias.rows_per_chunk
    assert rows == 1386
    assert rows * (2049 + 4 * 1000) * 8 <= 64 << 20


def test_large_problems_are_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_core.influence.problem.KEPT_BYTES", 1000)
    streamed, kept = tiny_problem(chunk_rows=7), CASES["all"]
    assert streamed._kept is None
    assert kept._kept is not None
    assert_close(streamed.gradient(), kept.gradient())


def test_half_precision_features_in_host_memory_are_enough(digits: ImageSet) -> None:
    whole, _ = digits_head()
    half = HeadProblem(whole.features.half(), whole.labels, whole.weight, whole.bias)
    difference = (half.gradient() - whole.gradient()).norm() / whole.theta.norm()
    assert 0 < float(difference) < 1e-3


# What it refuses.


def test_a_network_without_a_linear_head_is_refused(digits: ImageSet) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(BadInput, match="no linear layer as its head"):
        head_problem(network, torch.zeros(4, 64), torch.arange(4))


def test_a_head_that_is_not_the_output_is_refused(digits: ImageSet) -> None:
    classifier = build_network(
        "digits-cnn", image_shape=(1, 8, 8), n_classes=10, mean=[0.3], std=[0.4], seed=0
    )
    images, labels = digits.train_images[:50], digits.train_labels[:50]
    with torch.no_grad():
        features, logits = classifier.features(images), classifier(images)
    problem = head_problem(classifier, features, labels, logits=logits)
    assert_close(problem.logits(features).float(), logits, atol=1e-6)
    # What float16 makes of the features is let through, a scale of a ninth or a softmax is not.
    head_problem(classifier, features.half(), labels, logits=logits)
    for wrong in (logits / 9, logits * 1.1, logits.softmax(1), logits[:, :9], logits * torch.nan):
        with pytest.raises(BadInput, match=r"not its output|do not belong"):
            head_problem(classifier, features, labels, logits=wrong)


def test_weights_that_are_no_numbers_are_refused() -> None:
    body, head = nn.Flatten(), nn.Linear(4, 3)
    classifier = Classifier(body, head, [0.5], [0.2])
    with torch.no_grad():
        head.weight[1, 2] = torch.nan
    with pytest.raises(BadInput, match="not numbers"):
        head_problem(classifier, torch.zeros(3, 4), torch.arange(3))


def test_a_set_of_one_class_is_refused() -> None:
    with pytest.raises(BadInput, match="all of one class"):
        HeadProblem(torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64), torch.zeros(3, 4))
    problem = tiny_problem()
    with pytest.raises(BadInput, match="all of one class"):
        problem.without(torch.from_numpy(np.flatnonzero(problem.labels.numpy())))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"damping": -1.0}, "Damping"),
        ({"damping": float("nan")}, "Damping"),
        ({"labels": torch.tensor([0, 1, 3])}, "Labels must lie in 0–2"),
        ({"labels": torch.tensor([0, -1, 1])}, "Labels must lie in 0–2"),
        ({"labels": torch.tensor([0, 1])}, "3 rows of features came with 2 labels"),
        ({"features": torch.zeros(3, 5)}, "takes 4 features"),
        ({"bias": torch.zeros(2)}, "bias of another length"),
        ({"chunk_rows": 0}, "at least one picture"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict, said: str) -> None:
    given = {
        "features": torch.zeros(3, 4),
        "labels": torch.arange(3),
        "weight": torch.zeros(3, 4),
        **options,
    }
    with pytest.raises(BadInput, match=said):
        HeadProblem(**given)


@pytest.mark.parametrize(
    ("ids", "said"), [([], "empty"), ([30], "0–29"), ([-1], "0–29"), ([2, 2], "twice")]
)
def test_ids_that_are_no_pictures_are_refused(ids: list[int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        tiny_problem().without(torch.tensor(ids, dtype=torch.int64))
