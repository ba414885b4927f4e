r"""Random labels: train on, with wrong labels for the forget pictures
(Golatkar et al., arXiv 1911.04933; Graves et al., "Amnesiac", arXiv 2010.10981).

    L = mean over F ∪ R of CE(x, y~),   y~ = y for R,  y~ uniform over the other classes for F

By accuracy it looks perfect; by privacy it is among the worst, since a model confident in a wrong
answer shows that it has seen the picture. It is kept for that lesson.

Differs from public code: a wrong label is never the true one (a uniform draw can hit it), and
forget and retain pictures are always shuffled into the same batches, where public code takes one
part after the other for some image sets. `redraw` draws anew in each pass; fixed labels are
memorised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from imu_core.methods.descent import DescentConfig, descend, join
from imu_core.methods.forget_term import ForgetTerm, weighting_parameter
from imu_core.methods.labels import random_wrong
from imu_core.methods.registry import Step, parameter, register
from imu_core.methods.task import Task


@dataclass(frozen=True)
class RandomLabelConfig(DescentConfig):
    """Parameters of training on random labels."""

    epochs: int = parameter(5, "Passes over all pictures.", low=1, high=10_000)
    redraw: bool = parameter(True, "Draw new wrong labels in each pass.")
    weighting: str = weighting_parameter()


def train_on_random_labels(
    task: Task,
    config: RandomLabelConfig,
    update: Callable[[Callable[[], None]], None] | None = None,
) -> Iterator[Step]:
    """Steps over F ∪ R with wrong labels for F; `update` may mask what moves (SalUn)."""
    term = ForgetTerm(task, config.weighting)
    task.trainable("all", config.batch_norm)
    forget, both = task.forget, join(task.forget, task.retain)
    labels = both.labels.clone()
    drawn = False

    def draw() -> None:
        nonlocal drawn
        if config.redraw or not drawn:
            n_classes = task.model.n_classes
            labels[: len(forget)] = random_wrong(forget.labels, n_classes, task.generator)
            drawn = True

    def loss_of(rows: Tensor) -> Tensor:
        logits = task.model(both.images[rows])
        losses = functional.cross_entropy(logits, labels[rows], reduction="none")
        return term.mean_of_both(losses, rows, logits)

    yield from descend(
        task, config, both, loss_of, each_epoch=draw, update=update, weights=term.statistics
    )


@register(
    "random_label",
    title="Random labels",
    needs=("forget", "retain"),
    scope="all",
    paper="Golatkar et al., arXiv 1911.04933",
    summary="Trains on with random wrong labels for the forget pictures.",
    formula=r"\mathcal{L} = \frac{1}{n+m}\Bigl(\sum_{i\in F}\mathrm{CE}(x_i,\tilde y_i) + "
    r"\sum_{j\in R}\ell_j\Bigr),\quad \tilde y_i \ne y_i",
    config=RandomLabelConfig,
)
def random_label(task: Task, config: RandomLabelConfig) -> Iterator[Step]:
    yield from train_on_random_labels(task, config)
