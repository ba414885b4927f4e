"""Rules that rank by influence at the classifier head."""

from __future__ import annotations

import torch
from torch import Tensor

from imu_core.forget_rules import Proposal, RuleContext, count_of, forget_rule
from imu_core.forget_set import n_pictures


@forget_rule(
    "imu",
    "50",
    "The pictures that pull hardest with their class, by IMU's score: those that unlearning the "
    "class would weigh most.",
    needs_outputs=True,
)
def strongest(context: RuleContext, argument: str) -> Proposal:
    from imu_core.influence.imu_scores import imu_scores

    count = count_of(argument, context.image_set.n_train, "imu")
    features, logits = _tensors(context)
    labels = context.image_set.train_labels
    scores = torch.zeros(len(labels), dtype=torch.float64)
    for label in labels.unique():
        ids = (labels == label).nonzero().flatten()
        scores[ids] = imu_scores(features[ids], logits[ids], labels[ids])
    ids = scores.argsort(stable=True)[:count].tolist()
    return Proposal(ids, f"the {n_pictures(count)} with the strongest IMU score in their class")


@forget_rule(
    "influential",
    "50",
    "The pictures that the model knows by heart: without one of these its own loss would rise "
    "most, because no other picture speaks for it (self-influence at the head).",
    needs_outputs=True,
)
def influential(context: RuleContext, argument: str) -> Proposal:
    from imu_core.influence.problem import HeadProblem
    from imu_core.influence.scores import Influence

    count = count_of(argument, context.image_set.n_train, "influential")
    features, logits = _tensors(context)
    if context.report is not None:
        context.report(0, 1, "Curvature of the head")
    weight, bias = _head_of(features, logits)
    problem = HeadProblem(features, context.image_set.train_labels, weight, bias)
    scores = Influence(problem).self_influence()
    ids = scores.argsort(descending=True, stable=True)[:count].tolist()
    return Proposal(ids, f"the {n_pictures(count)} with the highest self-influence")


def _tensors(context: RuleContext) -> tuple[Tensor, Tensor]:
    outputs = context.outputs
    features = torch.from_numpy(outputs.train_features).double()
    return features, torch.from_numpy(outputs.train_logits).double()


def _head_of(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (K, d) and bias (K,) of the linear head that made these logits of these features.

    Least squares finds it from the outputs alone. A small ridge keeps it unique where features
    depend on one another.
    """
    inputs = torch.cat((features, features.new_ones(len(features), 1)), 1)
    gram = inputs.T @ inputs
    gram += 1e-9 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solution = torch.linalg.solve(gram, inputs.T @ logits)
    return solution[:-1].T.contiguous(), solution[-1].contiguous()
