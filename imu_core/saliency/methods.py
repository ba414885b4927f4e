"""The saliency methods, each a function from pictures to attributions.

Guided backprop and guided Grad-CAM are left out: they find edges whatever the weights say (Adebayo
et al. 2018, arXiv 1810.03292). DeepLift is left out: on networks that use a rectifier twice or have
attention its result is wrong without an error. Captum's layer Grad-CAM is kept from transformers,
where it takes tokens for channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from imu_core.errors import BadInput
from imu_core.saliency.explained import Explained
from imu_core.saliency.layers import Layers

BATCH = 256
"""Pictures a pass; bounds memory whatever the number of steps or samples."""


@dataclass(frozen=True)
class Settings:
    """What the methods can be told."""

    n_steps: int = 64
    """Points on the path of integrated gradients, 2–1000."""
    n_samples: int = 25
    """Noisy copies of SmoothGrad, 1–1000."""
    noise: float = 0.15
    """Their standard deviation, as a share of the range of the normalised pixels, above 0–1."""
    window: int | None = None
    """Side of the square that occlusion covers, in pixels; None: a quarter of the shorter side."""
    seed: int = 0
    """Of all noise."""

    def __post_init__(self) -> None:
        for name, low, high in (("n_steps", 2, 1000), ("n_samples", 1, 1000)):
            if not low <= getattr(self, name) <= high:
                raise BadInput(f"{name} must lie in {low}–{high}, not {getattr(self, name)}.")
        if not 0 < self.noise <= 1:
            raise BadInput(f"The noise must be above 0 and at most 1, not {self.noise}.")
        if self.window is not None and self.window < 1:
            raise BadInput("The occlusion window must be at least one pixel wide.")


@dataclass(frozen=True, eq=False)
class Request:
    """Everything a method works on."""

    model: Explained
    pixels: Tensor
    """normalised, (n, c, h, w)"""
    classes: Tensor
    """int64 (n,)"""
    baseline: Tensor
    """normalised, (1, c, h, w): what integrated gradients start from and occlusion covers with"""
    settings: Settings
    layers: Layers


Attributed = tuple[Tensor, Tensor | None]
"""Attributions (n, c, h, w), or (n, 1, h, w) for class activation maps, and convergence delta."""


@dataclass(frozen=True)
class SaliencyMethod:
    """A method with the sentence people are shown."""

    name: str
    title: str
    sentence: str
    attribute: Callable[[Request], Attributed]
    fits: Callable[[Layers], bool] = lambda layers: True
    unfit: str = ""
    """Why a network may be without it."""


def captum() -> ModuleType:
    """Captum's attribution package; its import warns about a part of torch we do not use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import captum.attr

        return captum.attr


def integrated_gradients(request: Request) -> Attributed:
    """Gradients along the straight path from the baseline (Sundararajan et al. 2017).

    Attributions sum to the target's change from the baseline; delta is the sum minus the change.
    """
    pixels = request.pixels.clone().requires_grad_()
    maps, delta = (
        captum()
        .IntegratedGradients(request.model)
        .attribute(
            pixels,
            baselines=request.baseline.expand_as(pixels).contiguous(),
            additional_forward_args=(request.classes,),
            n_steps=request.settings.n_steps,
            internal_batch_size=max(BATCH, len(pixels)),
            return_convergence_delta=True,
        )
    )
    return maps, delta


def input_x_gradient(request: Request) -> Attributed:
    """Gradient times the difference from the mean colour."""
    pixels = request.pixels.clone().requires_grad_()
    maps = (
        captum()
        .InputXGradient(request.model)
        .attribute(pixels, additional_forward_args=(request.classes,))
    )
    return maps, None


def smooth_grad(request: Request) -> Attributed:
    """Mean gradient over noisy copies of the picture (Smilkov et al. 2017, arXiv 1706.03825).

    Captum's gradient under noise of our own: its noise comes from the global generator.
    """
    settings, pixels = request.settings, request.pixels
    generator = torch.Generator().manual_seed(settings.seed)
    spread = settings.noise * (pixels.amax((1, 2, 3)) - pixels.amin((1, 2, 3)))
    gradient = captum().Saliency(request.model)
    total = torch.zeros_like(pixels)
    for _ in range(settings.n_samples):
        # One picture's noise for all of them: a map does not depend on the rest of its batch.
        noise = torch.randn(pixels.shape[1:], generator=generator).to(pixels.device)
        noisy = (pixels + spread[:, None, None, None] * noise).requires_grad_()
        total += gradient.attribute(noisy, abs=False, additional_forward_args=(request.classes,))
    return total / settings.n_samples, None


def occlusion(request: Request) -> Attributed:
    """Fall of the target when a square is covered by the baseline (Zeiler and Fergus 2014)."""
    pixels = request.pixels
    channels, height, width = pixels.shape[1:]
    window = request.settings.window or max(2, min(height, width) // 4)
    if window > min(height, width):
        raise BadInput(
            f"The occlusion window of {window} pixels is larger than the picture "
            f"({height}×{width}); choose a smaller one."
        )
    stride = max(1, window // 2)
    maps = (
        captum()
        .Occlusion(request.model)
        .attribute(
            pixels,
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=request.baseline.expand_as(pixels).contiguous(),
            additional_forward_args=(request.classes,),
            perturbations_per_eval=max(1, BATCH // len(pixels)),
        )
    )
    # All channels are covered at once and each is given the whole effect.
    return maps / channels, None


def grad_cam(request: Request) -> Attributed:
    """Last convolutional map, weighted by its mean gradient (Selvaraju et al. 2017).

    Signed; the published form is its positive part.
    """
    pixels = request.pixels.clone().requires_grad_()
    assert request.layers.convolution is not None
    coarse = (
        captum()
        .LayerGradCam(request.model, request.layers.convolution)
        .attribute(pixels, additional_forward_args=(request.classes,))
    )
    return _enlarged(coarse.detach(), pixels), None


def token_grad_cam(request: Request) -> Attributed:
    """Grad-CAM over patch tokens, on the norm before the last attention, without class token."""
    tokens, gradients = _token_gradients(request)
    rows, columns = request.layers.token_grid
    extra = tokens.shape[1] - rows * columns
    if extra < 0:
        raise BadInput("The tokens of this network do not lie on the grid of its patches.")
    tokens, gradients = tokens[:, extra:], gradients[:, extra:]
    coarse = (tokens * gradients.mean(1, keepdim=True)).sum(2).view(-1, 1, rows, columns)
    return _enlarged(coarse, request.pixels), None


def _token_gradients(request: Request) -> tuple[Tensor, Tensor]:
    """Tokens (n, t, width) behind the norm, and the target's gradient there."""
    kept: list[Tensor] = []
    assert request.layers.token_norm is not None
    hook = request.layers.token_norm.register_forward_hook(lambda *seen: kept.append(seen[2]))
    try:
        values = request.model(request.pixels.clone().requires_grad_(), request.classes)
    finally:
        hook.remove()
    (gradients,) = torch.autograd.grad(values.sum(), kept[-1])
    return kept[-1].detach(), gradients


def _enlarged(coarse: Tensor, pixels: Tensor) -> Tensor:
    size = pixels.shape[2:]
    return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


METHODS = (
    SaliencyMethod(
        "integrated-gradients",
        "Integrated gradients",
        "How much each pixel adds on the way from the mean picture to this one; the parts sum to "
        "the whole change.",
        integrated_gradients,
    ),
    SaliencyMethod(
        "occlusion",
        "Occlusion",
        "How much the answer falls when a small square is covered. Asks the network only, so it "
        "is right for every architecture.",
        occlusion,
    ),
    SaliencyMethod(
        "smooth-grad",
        "SmoothGrad",
        "In which direction each pixel pulls, averaged over slightly noisy copies of the picture.",
        smooth_grad,
    ),
    SaliencyMethod(
        "input-x-gradient",
        "Input × gradient",
        "The pull of each pixel times its difference from the mean colour; one pass.",
        input_x_gradient,
    ),
    SaliencyMethod(
        "grad-cam",
        "Grad-CAM",
        "Which regions the last convolution saw as speaking for the class; coarse.",
        grad_cam,
        lambda layers: layers.convolution is not None,
        "it has no convolution with more than one place",
    ),
    SaliencyMethod(
        "token-grad-cam",
        "Grad-CAM over tokens",
        "Which patches spoke for the class before the last attention; coarse.",
        token_grad_cam,
        lambda layers: layers.token_norm is not None,
        "it has no attention over patches",
    ),
)
