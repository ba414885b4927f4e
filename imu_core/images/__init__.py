"""Image sets: bundled, from torchvision, or a person's own."""

from imu_core.images.image_set import ImageSet
from imu_core.images.source import ImageSource, image_sources, open_image_set

__all__ = ["ImageSet", "ImageSource", "image_sources", "open_image_set"]
