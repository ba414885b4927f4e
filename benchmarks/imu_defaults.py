"""Sweep of IMU's parameters, each class forgotten in turn: why the defaults are what they are.

    python benchmarks/imu_defaults.py [--images digits fashion-mnist:10000] [--seeds 3]

For every setting, class and seed: unlearn with the stop rule `forget<=0.01` from the bundled
original, then compare with models retrained without the class. A setting is right for a class when
forget accuracy ends at or below 1 %, retain accuracy at or above 97 %, and test accuracy over the
other classes within 3 points of the mean of the retrained models. Writes
benchmarks/results/imu_defaults.json and .md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch
from hardware import hardware
from tqdm import tqdm

from imu_core.evaluation.metrics import measure
from imu_core.evaluation.outputs import Outputs
from imu_core.forget_set import ForgetSet
from imu_core.images import ImageSet, open_image_set
from imu_core.methods.registry import get_method
from imu_core.methods.task import Task, pictures_of
from imu_core.networks import load_checkpoint
from imu_core.networks.bundled import bundled_checkpoint
from imu_core.networks.checkpoint import checkpoint_digest
from imu_core.runs import RunStore, parse_stop
from imu_core.runs.loop import run_method
from imu_core.runs.probe import Probe
from imu_core.runs.references import original_outputs, retrained_reference

RESULTS = Path(__file__).parent / "results"
GRID = {
    "lr": [0.003, 0.01, 0.03, 0.1],
    "batch_size": [64, 256],
    "share": [0.1, 0.5, 1.0],
    "damping_mode": ["absolute", "relative"],
}
MOST_EPOCHS = 500
LEAST_RETAIN, MOST_TEST_GAP, MOST_FORGET = 0.97, 0.03, 0.01


class Bench:
    """One image set with its bundled original, its outputs and the retrained references."""

    def __init__(self, name: str, store: RunStore, n_references: int) -> None:
        self.images: ImageSet = open_image_set(name)
        path = bundled_checkpoint(name)
        assert path is not None, f"{name} has no bundled checkpoint"
        self.original, self.header = load_checkpoint(path, image_set=self.images)
        self.original.eval()
        self.device = torch.device("cpu")
        self.outputs = original_outputs(
            store, self.original, checkpoint_digest(path), self.images, device=self.device
        )
        self.sets = [
            ForgetSet.of(self.images, self.images.ids_of_class(label).tolist(), f"class {label}")
            for label in range(self.images.n_classes)
        ]
        self.retrained = [
            [
                measure(
                    retrained_reference(
                        store,
                        self.header,
                        self.images,
                        forget,
                        self.header.seed + number,
                        device=self.device,
                    )[1],
                    self.images,
                    forget.ids_tensor(),
                ).to_dict()
                for number in range(n_references)
            ]
            for forget in tqdm(self.sets, desc=f"{name}: references")
        ]
        self.probes = [
            Probe(self.images, forget.ids_tensor(), self.outputs, self.device)
            for forget in self.sets
        ]

    def run(self, method_name: str, parameters: dict[str, Any], label: int, seed: int) -> dict:
        """Steps, seconds and accuracies of one unlearning, all in memory."""
        method = get_method(method_name)
        config = method.config.from_mapping({"epochs": MOST_EPOCHS, **parameters})
        ids = self.sets[label].ids_tensor()
        task = Task(
            self.original,
            pictures_of(self.images, ids, self.device),
            generator=torch.Generator().manual_seed(seed),
        )
        result = run_method(
            task,
            method,
            config,
            self.probes[label],
            parse_stop(f"forget<={MOST_FORGET}"),
            emit=lambda event: None,
            should_stop=lambda: False,
        )
        after = self._measure(task, label)
        test = torch.tensor([m["test_accuracy"] for m in self.retrained[label]])
        return {
            "label": label,
            "seed": seed,
            "steps": result.steps,
            "method_s": result.method_s,
            "reached": result.reached,
            "retrained_test": float(test.mean()),
            "test_gap": float(test.mean()) - after["test"],
            **after,
        }

    def _measure(self, task: Task, label: int) -> dict[str, float]:
        """Accuracies through the constant features: a product with the new head."""
        outputs: Outputs = self.outputs
        head = task.model.head
        with torch.inference_mode():
            train = head(torch.from_numpy(outputs.train_features)).argmax(1)
            test = head(torch.from_numpy(outputs.test_features)).argmax(1)
        train_labels, test_labels = self.images.train_labels, self.images.test_labels
        right, right_test = train == train_labels, test == test_labels
        gone, gone_test = train_labels == label, test_labels == label
        return {
            "forget": float(right[gone].float().mean()),
            "retain": float(right[~gone].float().mean()),
            "test": float(right_test[~gone_test].float().mean()),
        }


def passes(cell: dict) -> bool:
    return (
        cell["forget"] <= MOST_FORGET
        and cell["retain"] >= LEAST_RETAIN
        and cell["test_gap"] <= MOST_TEST_GAP
    )


def summary(cells: list[dict]) -> dict[str, Any]:
    """How often all three marks are met, and the worst and mean figures."""
    n = len(cells)
    return {
        "passed": sum(map(passes, cells)),
        "n": n,
        "worst_forget": max(c["forget"] for c in cells),
        "worst_retain": min(c["retain"] for c in cells),
        "mean_retain": sum(c["retain"] for c in cells) / n,
        "worst_test_gap": max(c["test_gap"] for c in cells),
        "mean_test_gap": sum(c["test_gap"] for c in cells) / n,
        "mean_steps": sum(c["steps"] for c in cells) / n,
        "mean_seconds": sum(c["method_s"] for c in cells) / n,
    }


def sweep(bench: Bench, seeds: int) -> list[dict]:
    """Every setting of the grid with seed 0; the best twelve again with all seeds."""
    settings = [
        dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())
    ]
    rows = []
    for setting in tqdm(settings, desc=f"{bench.images.name}: settings"):
        cells = [bench.run("imu", setting, label, 0) for label in range(len(bench.sets))]
        rows.append({"setting": setting, **summary(cells)})
    rows.sort(key=lambda row: (-row["passed"], row["worst_test_gap"]))
    for row in rows[:12]:
        cells = every_cell(bench, "imu", row["setting"], seeds)
        row.update(summary(cells))
    # Settings tried with one seed only stay behind those tried with all.
    rows[:12] = sorted(rows[:12], key=lambda row: (-row["passed"], row["worst_test_gap"]))
    return rows


def every_cell(bench: Bench, method: str, setting: dict, seeds: int) -> list[dict]:
    labels = range(len(bench.sets))
    return [bench.run(method, setting, label, seed) for label in labels for seed in range(seeds)]


def table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def settings_table(rows: list[dict]) -> str:
    head = [*GRID, "met", "worst retain", "worst test gap", "mean test gap", "steps", "seconds"]
    return table(
        [head]
        + [
            [
                *(str(row["setting"][name]) for name in GRID),
                f"{row['passed']}/{row['n']}",
                f"{row['worst_retain']:.3f}",
                f"{row['worst_test_gap']:+.3f}",
                f"{row['mean_test_gap']:+.3f}",
                f"{row['mean_steps']:.0f}",
                f"{row['mean_seconds']:.3f}",
            ]
            for row in rows
        ]
    )


def class_table(bench: Bench, methods: dict[str, list[dict]], seeds: int) -> str:
    head = ["class", "retrained test", *(f"{name}: retain / test gap / steps" for name in methods)]
    body = []
    for label, name in enumerate(bench.images.class_names):
        row = [name, f"{methods['imu'][label * seeds]['retrained_test']:.3f}"]
        for cells in methods.values():
            mine = [c for c in cells if c["label"] == label]
            mark = "" if all(map(passes, mine)) else " (missed)"
            retain, gap = min(c["retain"] for c in mine), max(c["test_gap"] for c in mine)
            steps = sum(c["steps"] for c in mine) / len(mine)
            row.append(f"{retain:.3f} / {gap:+.3f} / {steps:.0f}{mark}")
        body.append(row)
    return table([head, *body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", default=["digits", "fashion-mnist:10000"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--references", type=int, default=3)
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--defaults-only", action="store_true", help="leave the sweep out")
    arguments = parser.parse_args()
    store = RunStore(arguments.runs)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "imu_defaults.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in arguments.images:
        results[name] = one_image_set(name, store, arguments)
        # Image sets measured before are kept, each with the machine it was measured on.
        file.write_text(json.dumps(results, indent=1))
    paragraphs = (__doc__ or "").split("\n\n")
    text = "\n".join(["# IMU's default parameters", "", paragraphs[2].rpartition(" Writes")[0], ""])
    text += "\n".join(results[name]["text"] for name in sorted(results))
    (RESULTS / "imu_defaults.md").write_text(text)
    print(text)


def one_image_set(name: str, store: RunStore, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures and text for one image set: the defaults a class, and the sweep."""
    started = time.perf_counter()
    bench = Bench(name, store, arguments.references)
    methods = {
        method: every_cell(bench, method, {}, arguments.seeds)
        for method in ("imu", "imu_permuted", "gradient_ascent")
    }
    rows = [] if arguments.defaults_only else sweep(bench, arguments.seeds)
    found = {"hardware": hardware(), "grid": GRID, "defaults": methods, "settings": rows}
    met = summary(methods["imu"])
    seconds = time.perf_counter() - started
    text = [
        f"## {name}",
        "",
        f"IMU's defaults meet all three marks in {met['passed']} of {met['n']} runs "
        f"({arguments.seeds} seeds a class, {arguments.references} retrained models a class). "
        "Worst of the seeds, for IMU and its controls:",
        "",
        class_table(bench, methods, arguments.seeds),
        "",
    ]
    if rows:
        text += ["The first twelve settings of the sweep:", "", settings_table(rows[:12]), ""]
    text += [f"Made in {seconds:.0f} s on {found['hardware']['summary']}.", ""]
    return {**found, "summary": met, "seconds": seconds, "text": "\n".join(text)}


if __name__ == "__main__":
    main()
