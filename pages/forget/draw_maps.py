"""Lays out the pictures of every bundled model by UMAP: `python -m pages.forget.draw_maps`.

The coordinates go into assets/maps, under the names by which the map of the page Forget looks for
them. Those that are there already are left; for 60,000 pictures it takes minutes.
"""

from __future__ import annotations

from imu_core.embedding import UmapSettings, map_key, store_map, stored_map, umap_coordinates
from imu_core.evaluation.outputs import compute_outputs
from imu_core.images import open_image_set
from imu_core.networks import checkpoint_digest, load_checkpoint
from imu_core.networks.bundled import bundled_checkpoints
from pages.widgets.feature_map import SHIPPED


def main() -> None:
    for name, path in bundled_checkpoints().items():
        images = open_image_set(name)
        key = map_key("umap", checkpoint_digest(path), images.fingerprint, UmapSettings())
        if stored_map(SHIPPED, key, n=images.n_train) is not None:
            print(f"{name}: there already")
            continue
        model, _ = load_checkpoint(path, image_set=images)
        features = compute_outputs(model, images, device="cpu").train_features
        print(f"{name}: {store_map(SHIPPED, key, umap_coordinates(features))}")


if __name__ == "__main__":
    main()
