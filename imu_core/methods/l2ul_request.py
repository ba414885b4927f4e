"""One unlearning request of L2UL: its adversarial examples, weight importance, and updates."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.adversarial import Attack, scaled
from imu_core.methods.descent import batch_norm_for, endless, sgd
from imu_core.methods.fisher import Moments, moments
from imu_core.methods.labels import random_wrong
from imu_core.methods.task import Pictures, Task, n_batches

if TYPE_CHECKING:
    from imu_core.methods.l2ul import L2ulConfig

MOST_IN_ALL, MOST_A_PICTURE, REPORT_EVERY = 1024, 20, 10


def weight_importance(task: Task, part: Pictures) -> Moments:
    """Ω̂: mean over `part` of |∂‖f(x)‖₂/∂θ|, scaled to 0–1 in each tensor, by parameter name.

    A tensor in which all weights matter alike gets 0, so that it is held as a whole.
    """
    result = moments(
        task.model,
        part.images,
        part.labels,
        loss=lambda logits, labels: logits.norm(dim=1),
        moment=torch.abs,
        batch_size=256,
    )
    for omega in result.values():
        omega -= omega.min()
        omega /= omega.max().clamp_min(1e-12)
    return result


class Request:
    """Pictures to be unlearned together, from the model as it is when `steps` begins."""

    def __init__(
        self, task: Task, config: L2ulConfig, part: Pictures, targets: Tensor | None
    ) -> None:
        self._task, self._config, self._part, self._targets = task, config, part, targets
        self._adversarial = config.regulariser in ("adversarial", "both")
        self._holds_weights = config.regulariser in ("importance", "both")
        most = max(1, MOST_IN_ALL // len(part))
        self._copies = config.n_adversarial or min(MOST_A_PICTURE, most)
        n, size = len(part), config.forget_batch
        if self._adversarial:
            n, size = n * self._copies, config.batch_size
        self.n_steps = config.epochs * n_batches(n, size)
        if self._adversarial:
            reports = -(-config.attack_steps // REPORT_EVERY)
            self.n_steps += -(-n // 1024) * reports

    def steps(self) -> Iterator[tuple[float, str]]:
        """Loss and what is being done, once for each of `n_steps` steps."""
        task, config = self._task, self._config
        examples = None
        if self._adversarial:
            attack = self._attack()
            for loss in attack.run():
                yield loss, "adversarial examples"
            ids = torch.arange(len(attack.points))
            examples = Pictures(attack.points, attack.targets, ids)
        start = {name: p.detach().clone() for name, p in task.model.named_parameters()}
        held = {}
        if self._holds_weights:
            held = {name: 1 - o for name, o in weight_importance(task, self._part).items()}
        mode = config.batch_norm if examples else batch_norm_for(self._part, config.batch_norm)
        task.trainable("all", mode)
        optimiser = sgd(task, config)
        for gone, kept in self._batches(examples):
            loss = self._loss(gone, examples, kept)
            for name, p in task.model.named_parameters():
                if name in held:
                    pull = (held[name] * (p - start[name]).square()).sum()
                    loss = loss + config.importance / 2 * pull
            loss.backward()
            optimiser.step(config.lr)
            yield loss.item(), "unlearning"

    def _attack(self) -> Attack:
        task, config = self._task, self._config
        images = self._part.images.float().div(255).repeat_interleave(self._copies, 0)
        labels = self._part.labels.repeat_interleave(self._copies)
        shape = self._part.images.shape[1:]
        return Attack(
            copy.deepcopy(task.model).requires_grad_(False).eval(),
            images,
            random_wrong(labels, task.model.n_classes, task.generator),
            radius=scaled(config.radius, shape),
            step=scaled(config.attack_step, shape),
            iterations=config.attack_steps,
            report_every=REPORT_EVERY,
            generator=task.generator,
        )

    def _batches(self, examples: Pictures | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Positions of forget pictures and of adversarial examples, one pair an update."""
        config, generator = self._config, self._task.generator
        forget = endless(self._part, config.forget_batch, generator)
        for _ in range(config.epochs):
            if examples is None:
                for rows in self._part.batches(config.forget_batch, generator):
                    yield rows, None
            else:
                for rows in examples.batches(config.batch_size, generator):
                    yield next(forget), rows

    def _loss(self, gone: Tensor, examples: Pictures | None, kept: Tensor | None) -> Tensor:
        images, labels, n = self._part.images[gone], self._part.labels[gone], len(gone)
        if examples is None or kept is None:
            return self._forget_loss(self._task.model(images), gone, labels)
        # One pass for both, so that batch norm in train mode sees them together.
        both = torch.cat([images.float().div(255), examples.images[kept]])
        logits = self._task.model(both)
        share = n / (n + len(kept))
        other = functional.cross_entropy(logits[n:], examples.labels[kept])
        return share * self._forget_loss(logits[:n], gone, labels) + (1 - share) * other

    def _forget_loss(self, logits: Tensor, gone: Tensor, labels: Tensor) -> Tensor:
        if self._targets is not None:
            return functional.cross_entropy(logits, self._targets[gone])
        losses = functional.cross_entropy(logits, labels, reduction="none")
        if self._config.hold:
            losses = losses * (logits.argmax(1) == labels)
        return -losses.mean()
