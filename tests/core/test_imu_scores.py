"""IMU's closed-form scores against per-sample autograd, and the weights made of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.influence.imu_scores import imu_scores, imu_weights


def autograd_scores(
    head: torch.nn.Linear, features: torch.Tensor, labels: torch.Tensor, damping: float, mode: str
) -> torch.Tensor:
    """The slow way of the paper's code: one backward pass a sample, no shared rows."""
    gradients = []
    for feature, label in zip(features, labels, strict=True):
        loss = functional.cross_entropy(head(feature[None]), label[None])
        parts = torch.autograd.grad(loss, list(head.parameters()))
        gradients.append(torch.cat([part.flatten() for part in parts]))
    g = torch.stack(gradients)
    fisher = g.square().mean(0)
    fisher = fisher + damping * (fisher.mean() if mode == "relative" else 1.0)
    return -(g * (g.mean(0) / fisher)).sum(1)


@pytest.fixture(scope="module")
def digits_head(digits):
    """A head fitted to the pixels of real digits, in float64, and one class to forget."""
    features = digits.train_images.flatten(1).double() / 255
    labels = digits.train_labels
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(64, 10).double()
    with torch.no_grad():
        head.weight.copy_(torch.randn(10, 64, generator=generator) * 0.1)
        head.bias.zero_()
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=30)

    def closure():
        optimiser.zero_grad()
        loss = functional.cross_entropy(head(features), labels)
        loss.backward()
        return loss

    optimiser.step(closure)
    rows = (labels == 3).nonzero().flatten()
    return head, features[rows], labels[rows]


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_scores_equal_autograd(digits_head, mode):
    head, features, labels = digits_head
    expected = autograd_scores(head, features, labels, 0.01, mode)
    found = imu_scores(features, head(features).detach(), labels, damping=0.01, damping_mode=mode)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_first_sample_has_a_score_of_its_own(digits_head):
    """The released code spoils the first row; rolling the samples must only roll the scores."""
    head, features, labels = digits_head
    logits = head(features).detach()
    scores = imu_scores(features, logits, labels)
    rolled = imu_scores(features.roll(1, 0), logits.roll(1, 0), labels.roll(1, 0))
    torch.testing.assert_close(rolled, scores.roll(1, 0), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_scores_do_not_depend_on_the_chunk(digits_head, chunk, monkeypatch):
    head, features, labels = digits_head
    logits = head(features).detach()
    whole = imu_scores(features, logits, labels)
    monkeypatch.setattr("imu_core.influence.imu_scores.CHUNK", chunk)
    torch.testing.assert_close(imu_scores(features, logits, labels), whole, rtol=1e-9, atol=1e-13)


def test_scores_sum_to_minus_n_times_a_norm(digits_head):
    """Σ I = −n ḡᵀF⁻¹ḡ < 0, so some sample always supports forgetting."""
    head, features, labels = digits_head
    assert float(imu_scores(features, head(features).detach(), labels).sum()) < 0


def test_perfectly_fitted_samples_get_uniform_weights():
    scores = imu_scores(torch.ones(4, 3), torch.tensor([[1e4, 0.0]] * 4), torch.zeros(4).long())
    assert scores.tolist() == [0, 0, 0, 0]
    assert imu_weights(scores).tolist() == [1, 1, 1, 1]


def test_no_damping_and_dead_features_stay_finite(digits_head):
    head, features, labels = digits_head
    scores = imu_scores(features, head(features).detach(), labels, damping=0.0)
    assert bool(torch.isfinite(scores).all())


def test_no_picture_is_refused():
    with pytest.raises(BadInput, match="at least one"):
        imu_scores(torch.ones(0, 3), torch.ones(0, 2), torch.ones(0).long())


def test_weights_by_hand():
    scores = torch.tensor([-4.0, 1.0, -1.0, -0.25], dtype=torch.float64)
    assert imu_weights(scores, clip_quantile=1.0).tolist() == [2.0, 0.0, 1.0, 0.5]
    assert imu_weights(scores, clip_quantile=1.0, law="linear").tolist() == [4.0, 0.0, 1.0, 0.25]
    assert imu_weights(scores, clip_quantile=0.5).tolist() == [1.0, 0.0, 1.0, 0.5]
    everyone = imu_weights(scores, select="all", clip_quantile=1.0)
    assert everyone.tolist() == [2.0, 1.0, 1.0, 0.5]
    assert imu_weights(scores, share=0.67, clip_quantile=1.0).tolist() == [2.0, 0.0, 1.0, 0.0]
    assert imu_weights(scores, share=0.0, clip_quantile=1.0).tolist() == [2.0, 0.0, 0.0, 0.0]
