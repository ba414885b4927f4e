"""Architectures, the split into features and head, and checkpoints."""

from imu_core.networks import convolutional, resnet, vgg, vit
from imu_core.networks.checkpoint import (
    checkpoint_digest,
    load_checkpoint,
    read_checkpoint_header,
    same_pictures,
    save_checkpoint,
)
from imu_core.networks.checkpoint_header import CheckpointHeader
from imu_core.networks.classifier import Classifier
from imu_core.networks.registry import (
    build_network,
    count_parameters,
    default_network,
    network_names,
    network_table,
)

_MODULES_WITH_NETWORKS = (convolutional, resnet, vgg, vit)
"""Imported for their registrations."""

__all__ = [
    "CheckpointHeader",
    "Classifier",
    "build_network",
    "checkpoint_digest",
    "count_parameters",
    "default_network",
    "load_checkpoint",
    "network_names",
    "network_table",
    "read_checkpoint_header",
    "same_pictures",
    "save_checkpoint",
]
