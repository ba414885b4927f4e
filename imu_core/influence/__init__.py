"""Influence at the classifier head: gradients, curvature, scores and predicted effects.

problem = refit(head_problem(classifier, features, labels)).problem
curvature = curvature_of(problem)                      # factorised once
scores = Influence(problem, curvature).on_each(test_features, test_labels)
removal = predict_removal(problem, forget_ids, "newton", curvature=curvature)
bars = effect(removal, test_features, test_labels)
"""

from imu_core.influence.curvature import (
    Cholesky,
    ConjugateGradients,
    Curvature,
    Kronecker,
    curvature_of,
    explicit_hessian,
)
from imu_core.influence.measured import Agreement, AveragedScores, agreement, average_scores
from imu_core.influence.newton import Refit, refit
from imu_core.influence.problem import DEFAULT_DAMPING, HeadProblem, head_problem
from imu_core.influence.quantities import QUANTITIES, quantity_gradients, quantity_values
from imu_core.influence.removal import FROZEN, KINDS, Effect, Removal, effect, predict_removal
from imu_core.influence.scores import (
    Influence,
    feature_similarity,
    gradient_products,
    representer_values,
)
from imu_core.influence.subsets import (
    Memorisation,
    memorisation,
    random_halves,
    subset_influence,
)

__all__ = [
    "DEFAULT_DAMPING",
    "FROZEN",
    "KINDS",
    "QUANTITIES",
    "Agreement",
    "AveragedScores",
    "Cholesky",
    "ConjugateGradients",
    "Curvature",
    "Effect",
    "HeadProblem",
    "Influence",
    "Kronecker",
    "Memorisation",
    "Refit",
    "Removal",
    "agreement",
    "average_scores",
    "curvature_of",
    "effect",
    "explicit_hessian",
    "feature_similarity",
    "gradient_products",
    "head_problem",
    "memorisation",
    "predict_removal",
    "quantity_gradients",
    "quantity_values",
    "random_halves",
    "refit",
    "representer_values",
    "subset_influence",
]
