"""Is a map worth looking at? Sanity under random weights, faithfulness, stability, drift."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from imu_core.errors import BadInput
from imu_core.networks.classifier import Classifier
from imu_core.saliency.explained import (
    Explained,
    checked_pixels,
    checked_targets,
    private_copy,
)
from imu_core.saliency.maps import attributions, saliency
from imu_core.saliency.methods import Settings

RANDOMISED = ("head", "all")


def rank_correlation(maps: Tensor, others: Tensor) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps (n, h, w): float64 (n,), NaN where one is
    flat. One minus it is the drift between two models; read it against that of two retrained ones.
    """
    if maps.shape != others.shape:
        raise BadInput("Maps can only be compared with maps of the same pictures.")
    result = np.full(len(maps), np.nan)
    for place, (one, other) in enumerate(zip(maps.numpy(), others.numpy(), strict=True)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            result[place] = stats.spearmanr(one.ravel(), other.ravel()).statistic
    return result


def randomised(classifier: nn.Module, what: str, seed: int) -> Classifier:
    """A copy whose trained weights are dealt out anew: those of the head, or of every layer.

    Shuffling within each tensor keeps the size of the weights and destroys what they know.
    """
    if what not in RANDOMISED:
        raise BadInput(f"Randomise “head” or “all”, not “{what}”.")
    copied = copy.deepcopy(private_copy(classifier))
    generator = torch.Generator().manual_seed(seed)
    for parameter in (copied if what == "all" else copied.head).parameters():
        flat = parameter.detach().flatten()
        order = torch.randperm(len(flat), generator=generator).to(flat.device)
        parameter.data = flat[order].view_as(parameter)
    return copied


def randomisation_check(
    classifier: nn.Module,
    pixels: Tensor,
    method: str,
    target: str,
    classes: Tensor | int,
    *,
    what: str = "all",
    baseline: Tensor | None = None,
    settings: Settings | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Rank correlation of each map's size |map| with that of the same network, weights shuffled:
    (n,). Near 1 means that the map shows the picture, not the network (Adebayo et al. 2018)."""
    before, after = (
        saliency(one, pixels, method, target, classes, baseline=baseline, settings=settings)
        for one in (classifier, randomised(classifier, what, seed))
    )
    return rank_correlation(before.maps.abs(), after.maps.abs())


def infidelity(
    classifier: nn.Module,
    pixels: Tensor,
    method: str,
    target: str,
    classes: Tensor | int,
    *,
    baseline: Tensor | None = None,
    settings: Settings | None = None,
    n_samples: int = 10,
    noise: float = 0.1,
    seed: int = 0,
) -> np.ndarray:
    """How badly a map foretells the target's change under noise (Yeh et al. 2019, arXiv
    1901.09392): float32 (n,), 0 is best. Scaled to the target, so that models can be compared."""
    values, _, targets = attributions(
        classifier, pixels, method, target, classes, baseline=baseline, settings=settings
    )
    model = Explained(classifier, target)
    normalised = checked_pixels(model.classifier, pixels)
    generator = torch.Generator().manual_seed(seed)

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        drawn = noise * torch.randn(inputs.shape, generator=generator).to(inputs.device)
        return drawn, inputs - drawn

    with torch.no_grad():
        score = _metrics().infidelity(
            model,
            perturb,
            normalised,
            values.expand_as(normalised).contiguous(),
            additional_forward_args=(targets,),
            n_perturb_samples=n_samples,
            normalize=True,
        )
    return score.cpu().numpy()


def sensitivity(
    classifier: nn.Module,
    pixels: Tensor,
    method: str,
    target: str,
    classes: Tensor | int,
    *,
    baseline: Tensor | None = None,
    settings: Settings | None = None,
    n_samples: int = 10,
    radius: float = 0.02,
    seed: int = 0,
) -> np.ndarray:
    """Largest relative change of a map when its picture moves by up to `radius` (of pixels in
    0–1): float32 (n,), 0 is stable (Yeh et al. 2019)."""
    copied = private_copy(classifier)
    plain = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    targets = checked_targets(copied, classes, len(checked_pixels(copied, pixels)))
    generator = torch.Generator().manual_seed(seed)

    def explain(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (inputs,) = given
        repeated = targets.repeat_interleave(len(inputs) // len(targets))
        values, _, _ = attributions(
            copied, inputs, method, target, repeated, baseline=baseline, settings=settings
        )
        return (values.cpu(),)

    def perturb(inputs: Tensor, radius: float) -> tuple[Tensor, ...]:
        drawn = torch.rand(inputs.shape, generator=generator) * 2 - 1
        return (inputs + radius * drawn,)

    score = _metrics().sensitivity_max(
        explain, plain.cpu(), perturb, perturb_radius=radius, n_perturb_samples=n_samples
    )
    return score.numpy()


def _metrics():
    """Captum's metrics, imported late and without a warning about a part of torch not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import captum.metrics

        return captum.metrics
