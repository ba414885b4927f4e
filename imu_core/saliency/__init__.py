"""Saliency: which pixels an answer rests on, by the methods that are right for each network."""

from imu_core.saliency.checks import (
    infidelity,
    randomisation_check,
    randomised,
    rank_correlation,
    sensitivity,
)
from imu_core.saliency.explained import TARGETS, mean_picture
from imu_core.saliency.maps import SaliencyMaps, methods_for, saliency
from imu_core.saliency.methods import METHODS, SaliencyMethod, Settings

__all__ = [
    "METHODS",
    "TARGETS",
    "SaliencyMaps",
    "SaliencyMethod",
    "Settings",
    "infidelity",
    "mean_picture",
    "methods_for",
    "randomisation_check",
    "randomised",
    "rank_correlation",
    "saliency",
    "sensitivity",
]
