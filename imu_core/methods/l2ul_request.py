"""One unlearning request of L2UL: its adversarial examples, weight importance, and updates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.methods.adversarial import Attack, n_reports, scaled
from imu_core.methods.descent import endless, sgd
from imu_core.methods.fisher import Moments, moments
from imu_core.methods.forget_term import ForgetTerm, weighted_mean
from imu_core.methods.labels import random_wrong
from imu_core.methods.task import Pictures, Task, batch_norm_for, n_batches
from imu_core.networks.modes import eval_mode

if TYPE_CHECKING:
    from imu_core.methods.l2ul import L2ulConfig

MOST_IN_ALL, MOST_A_PICTURE, REPORT_EVERY, FEW = 1024, 20, 10, 64


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
    """Forget pictures, those at `rows`, to be unlearned together.

    `steps` starts from the model as it is then.
    """

    def __init__(
        self,
        task: Task,
        config: L2ulConfig,
        rows: Tensor,
        targets: Tensor | None,
        term: ForgetTerm,
    ) -> None:
        self._task, self._config, self._rows, self._term = task, config, rows, term
        self._part = task.forget.take(rows)
        self._targets = None if targets is None else targets[rows]
        part = self._part
        self._adversarial = config.regulariser in ("adversarial", "both")
        self._holds_weights = config.regulariser in ("importance", "both")
        most = max(1, MOST_IN_ALL // len(part))
        self._copies = config.n_adversarial or min(MOST_A_PICTURE, most)
        n, size = len(part), config.forget_batch
        if self._adversarial:
            n, size = n * self._copies, config.batch_size
        self.n_steps = config.epochs * n_batches(n, size)
        if self._adversarial:
            self.n_steps += n_reports(n, config.attack_steps, REPORT_EVERY)

    def steps(self) -> Iterator[tuple[float, str, int]]:
        """Loss, what is being done, and how many steps are left at the most; 0 at the end."""
        task, config, left = self._task, self._config, self.n_steps
        examples = None
        if self._adversarial:
            attack = self._attack()
            for loss in attack.run():
                left -= 1
                yield loss, "adversarial examples", left
            ids = torch.arange(len(attack.points))
            examples = Pictures(attack.points, attack.targets, ids)
        pull = self._pull()
        mode = batch_norm_for(config.batch_norm, len(self._part), config.forget_batch)
        # With examples in the same batch no picture is alone.
        task.trainable("all", config.batch_norm if examples else mode)
        optimiser = sgd(task, config)
        for gone, kept in self._batches(examples):
            loss = self._loss(gone, examples, kept) + pull()
            loss.backward()
            optimiser.step(config.lr)
            left = 0 if self._goal_is_met() else left - 1
            yield loss.item(), "unlearning", left
            if not left:
                return

    def _pull(self) -> Callable[[], Tensor | float]:
        """λ/2 Σ (1 − Ω̂)(θ − θ⁰)² of the moving model, with Ω̂ and θ⁰ of the model as it is now."""
        if not self._holds_weights:
            return lambda: 0.0
        named = dict(self._task.model.named_parameters())
        start = {name: p.detach().clone() for name, p in named.items()}
        held = {name: 1 - o for name, o in weight_importance(self._task, self._part).items()}

        def pull() -> Tensor:
            terms = [(held[name] * (p - start[name]).square()).sum() for name, p in named.items()]
            return self._config.importance / 2 * torch.stack(terms).sum()

        return pull

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
        images, n = self._part.images[gone], len(gone)
        if examples is None or kept is None:
            return self._forget_loss(self._task.model(images), gone)
        # One pass for both, so that batch norm in train mode sees them together.
        both = torch.cat([images.float().div(255), examples.images[kept]])
        logits = self._task.model(both)
        share = n / (n + len(kept))
        other = functional.cross_entropy(logits[n:], examples.labels[kept])
        return share * self._forget_loss(logits[:n], gone) + (1 - share) * other

    def _forget_loss(self, logits: Tensor, gone: Tensor) -> Tensor:
        weights = self._term.weights(self._rows[gone], logits)
        if self._targets is not None:
            losses = functional.cross_entropy(logits, self._targets[gone], reduction="none")
            return weighted_mean(losses, weights)
        losses = functional.cross_entropy(logits, self._part.labels[gone], reduction="none")
        if self._config.hold:
            weights = weights * ~self._meet_goal(logits, gone)
        return -weighted_mean(losses, weights)

    def _meet_goal(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Which of these forget pictures are named as wanted, or else wrong: bool (b,)."""
        answers = logits.argmax(1)
        if self._targets is not None:
            return answers == self._targets[rows]
        return answers != self._part.labels[rows]

    @torch.no_grad()
    def _goal_is_met(self) -> bool:
        """Whether all pictures are where they should be; the first few mostly say no."""
        model, images = self._task.model, self._part.images
        positions = torch.arange(len(images), device=images.device)
        with eval_mode(model):
            return all(
                bool(self._meet_goal(model(images[rows]), rows).all())
                for rows in positions.split(FEW)
            )
