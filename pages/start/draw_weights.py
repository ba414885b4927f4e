"""Draws the picture of the start page: `python -m pages.start.draw_weights`.

Handwritten threes from the training set of the bundled model, with the weight IMU gives to each.
"""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image

from imu_core.images import open_image_set
from imu_core.influence.imu_scores import imu_scores, imu_weights
from imu_core.networks import load_checkpoint
from imu_core.networks.bundled import bundled_checkpoint
from pages.widgets.charts import FORGET
from pages.widgets.routes import ROOT

LABEL, N_SHOWN = 3, 16
TILE, GAP, BAR = 56, 12, 120


def weights_of_class(label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of a class of digits with their IMU weights (largest 1), the lightest first."""
    images = open_image_set("digits")
    model, _ = load_checkpoint(bundled_checkpoint("digits"), image_set=images)
    ids = images.ids_of_class(label)
    with torch.inference_mode():
        features = model.eval().features(images.train_images[ids])
        scores = imu_scores(features, model.head(features), images.train_labels[ids])
    weights = imu_weights(scores)
    order = weights.argsort(stable=True)
    return ids[order], weights[order] / weights.max()


def tile(pixels: torch.Tensor, x: int, height: float) -> str:
    """SVG of one picture and the bar above it."""
    file = io.BytesIO()
    picture = Image.fromarray(pixels[0].numpy()).resize((TILE, TILE), Image.Resampling.NEAREST)
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    bar = max(1.0, BAR * height)
    return (
        f'<rect x="{x}" y="{BAR - bar:.1f}" width="{TILE}" height="{bar:.1f}" fill="{FORGET}"/>'
        f'<image x="{x}" y="{BAR + GAP}" width="{TILE}" height="{TILE}" '
        f'href="data:image/png;base64,{data}"/>'
    )


def main() -> None:
    images = open_image_set("digits")
    ids, weights = weights_of_class(LABEL)
    places = torch.linspace(0, len(ids) - 1, N_SHOWN).round().long().tolist()
    tiles = [
        tile(images.train_images[ids[place]], number * (TILE + GAP), float(weights[place]))
        for number, place in enumerate(places)
    ]
    width, height = N_SHOWN * (TILE + GAP) - GAP, BAR + GAP + TILE
    target = ROOT / "assets" / "start" / "weights.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">{"".join(tiles)}</svg>\n'
    )


if __name__ == "__main__":
    main()
