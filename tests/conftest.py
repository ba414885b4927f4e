"""Real images for every test: the digits, and Fashion-MNIST where its files are installed."""

from __future__ import annotations

import pytest

from imu_core.errors import MissingData
from imu_core.images import ImageSet, open_image_set


def _fashion(spec: str) -> ImageSet:
    try:
        return open_image_set(spec)
    except MissingData as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    return open_image_set("digits")


@pytest.fixture(scope="session")
def fashion() -> ImageSet:
    """All of Fashion-MNIST."""
    return _fashion("fashion-mnist")


@pytest.fixture(scope="session")
def fashion_small() -> ImageSet:
    """2,000 training pictures of Fashion-MNIST."""
    return _fashion("fashion-mnist:2000")
