"""The same questions asked of Captum, of kronfluence and of autograd, one picture at a time."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from imu_core.networks.classifier import Classifier


def tracin_fast(
    classifier: Classifier, images: Tensor, labels: Tensor, queries: Tensor, query_labels: Tensor
) -> Callable[[], Tensor]:
    """A call that gives Captum's TracInCPFast scores (n, m) at one checkpoint. It computes the
    features of the training pictures anew each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.influence import TracInCPFast

    def same_weights(model: nn.Module, path: str) -> float:
        return 1.0

    tracer = TracInCPFast(
        classifier,
        classifier.head,
        TensorDataset(images, labels),
        checkpoints=["as it is"],
        checkpoints_load_func=same_weights,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=1024,
    )
    return lambda: tracer.influence((queries, query_labels)).T


def kronfluence_head(
    classifier: Classifier, images: Tensor, labels: Tensor, queries: Tensor, query_labels: Tensor
) -> tuple[Callable[[], None], Callable[[], Tensor]]:
    """Two calls: fit K-FAC factors of the head, and give its scores (n, m) after that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kronfluence import Analyzer, Task, prepare_model
        from kronfluence.arguments import FactorArguments, ScoreArguments

    class HeadTask(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits = model(batch[0])
            if not sample:
                return nn.functional.cross_entropy(logits, batch[1], reduction="sum")
            drawn = torch.multinomial(logits.detach().softmax(1), 1).flatten()
            return nn.functional.cross_entropy(logits, drawn, reduction="sum")

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self):
            return ["head"]

    task = HeadTask()
    folder = tempfile.mkdtemp(prefix="kronfluence-")
    training, asked = TensorDataset(images, labels), TensorDataset(queries, query_labels)
    analyzer = Analyzer(
        "head",
        prepare_model(copy.deepcopy(classifier), task),
        task,
        cpu=images.device.type == "cpu",
        disable_tqdm=True,
        log_level=40,
        output_dir=str(Path(folder)),
        disable_model_save=True,
    )

    def fit() -> None:
        analyzer.fit_all_factors(
            "kfac",
            training,
            per_device_batch_size=1024,
            factor_args=FactorArguments(strategy="kfac"),
            overwrite_output_dir=True,
        )

    def score() -> Tensor:
        analyzer.compute_pairwise_scores(
            "pairs",
            "kfac",
            asked,
            training,
            per_device_query_batch_size=len(queries),
            per_device_train_batch_size=1024,
            score_args=ScoreArguments(damping_factor=None),
            overwrite_output_dir=True,
        )
        return analyzer.load_pairwise_scores("pairs")["all_modules"].T

    return fit, score


def per_sample_imu_scores(
    classifier: Classifier, images: Tensor, labels: Tensor, damping: float, *, passes: int
) -> Tensor:
    """IMU's scores by one forward and one autograd call a picture, as its paper's code works.

    In two `passes` as released, one for the Fisher and one for the gradients; or in a single one
    that keeps the gradients, which is the least that this way can take.
    """
    fisher_gradients = gradients = _gradients(classifier, images, labels)
    if passes == 2:
        gradients = _gradients(classifier, images, labels)
    fisher = fisher_gradients.square().mean(0) + damping
    return -(gradients @ (gradients.mean(0) / fisher))


def _gradients(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of each picture's loss with respect to the head, (n, P)."""
    parameters = list(classifier.head.parameters())
    gradients = []
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        loss = nn.functional.cross_entropy(classifier(image), label)
        parts = torch.autograd.grad(loss, parameters)
        gradients.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(gradients)
