"""Every method on the same forget sets: whole paths, read at equal depth, beside retrained models.

    python benchmarks/methods.py [--images digits fashion-mnist:10000] [--sets class random chosen]
                                 [--seeds 0 1 2] [--methods imu ssd ...] [--table]

Forget sets: a whole class, a random 10 % of the training pictures, and a chosen, coherent set: the
4 % nearest to one picture in the original's features. The seed draws the set (another class,
another draw, another picture) and the method's random numbers; the original is the bundled
checkpoint. Each set has two retrained models; the floor is the difference between them.

Depth is how far forgetting has to go: forget accuracy 1 % for a class, and for the other sets that
of the retrained models. A method that sees no retain picture is stopped there, since nothing brings
it back, and so is told where a retrained model stands on random and chosen sets; the others run to
their own end and are told nothing. Their utility at equal depth is read at the first of about sixty
probes that is at or below the depth, on 512 forget pictures where there are more; of methods that
break the network first and mend it after (CT, EU-k, MSG) that is the broken network. Where
retrained models know all of a set, its first probe is at depth. Gap is |Δ forget| + |Δ retain| + |Δ
test| to the mean retrained model, at the end; its floor is the same between retrained models. All
parameters are the defaults. Test figures are of the half of the test pictures that no method may
see.

One line of JSON a finished cell goes into benchmarks/results/methods.jsonl, so that a run can be
broken off and taken up again; from all lines methods.md is made.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from hardware import hardware
from methods_table import report
from tqdm import tqdm

from imu_core.errors import ImuError
from imu_core.evaluation.metrics import measure
from imu_core.evaluation.outputs import compute_outputs
from imu_core.forget_set import ForgetSet
from imu_core.images import ImageSet, open_image_set
from imu_core.methods.fisher import diagonal_fisher
from imu_core.methods.registry import MethodConfig, all_methods, get_method
from imu_core.methods.task import Pictures, Task, pictures_of
from imu_core.networks import load_checkpoint
from imu_core.networks.bundled import bundled_checkpoint
from imu_core.networks.checkpoint import checkpoint_digest
from imu_core.runs import RunStore
from imu_core.runs.loop import run_method
from imu_core.runs.probe import Probe, heldout_rows
from imu_core.runs.references import original_outputs, retrained_reference
from imu_core.runs.spec import StopRule

RESULTS = Path(__file__).parent / "results"
CELLS = RESULTS / "methods.jsonl"
SHARE_RANDOM, SHARE_CHOSEN, CLASS_DEPTH, N_REFERENCES, N_PROBES = 0.1, 0.04, 0.01, 2, 60
SEEDS = [0, 1, 2]
CPU = torch.device("cpu")


class Bench:
    """One image set with its bundled original, the forget sets and their retrained models."""

    def __init__(self, name: str, store: RunStore) -> None:
        self.images: ImageSet = open_image_set(name)
        path = bundled_checkpoint(name)
        if path is None:
            raise SystemExit(f"There is no bundled checkpoint for {name}.")
        self.store = store
        self.original, self.header = load_checkpoint(path, image_set=self.images)
        self.original.eval()
        self.outputs = original_outputs(
            store, self.original, checkpoint_digest(path), self.images, device=CPU
        )
        self.heldout = heldout_rows(self.images)
        judged = torch.ones(self.images.n_test, dtype=torch.bool)
        judged[self.heldout] = False
        self.judged = judged.nonzero().flatten()
        self._fisher: tuple[dict[str, torch.Tensor], float] | None = None

    def fisher(self) -> tuple[dict[str, torch.Tensor], float]:
        """Diagonal Fisher over all training pictures and the seconds it took, made once."""
        if self._fisher is None:
            started = time.perf_counter()
            images = self.images
            found = diagonal_fisher(self.original, images.train_images, images.train_labels)
            self._fisher = found, time.perf_counter() - started
        return self._fisher

    def forget_set(self, kind: str, seed: int) -> ForgetSet:
        images, generator = self.images, torch.Generator().manual_seed(seed)
        if kind == "class":
            label = (3 + 2 * seed) % images.n_classes
            ids, how = images.ids_of_class(label), f"class {label}"
        elif kind == "random":
            n = round(SHARE_RANDOM * images.n_train)
            ids = torch.randperm(images.n_train, generator=generator)[:n]
            how = f"random {n}, seed {seed}"
        else:
            picture = int(torch.randint(images.n_train, (), generator=generator))
            features = torch.from_numpy(self.outputs.train_features)
            n = round(SHARE_CHOSEN * images.n_train)
            distances = (features - features[picture]).norm(dim=1)
            ids, how = distances.argsort(stable=True)[:n], f"{n} nearest to picture {picture}"
        return ForgetSet.of(images, sorted(ids.tolist()), how)

    def measured(self, outputs: Any, forget: ForgetSet) -> dict[str, float | None]:
        found = measure(outputs, self.images, forget.ids_tensor(), test_rows=self.judged).to_dict()
        del found["detail"]
        return found

    def retrained(self, forget: ForgetSet, n: int = N_REFERENCES) -> tuple[list[dict], list[float]]:
        """Measurements of each retrained model, and the seconds it took."""
        models, seconds = [], []
        for number in range(n):
            _, outputs, took = retrained_reference(
                self.store, self.header, self.images, forget, self.header.seed + number, device=CPU
            )
            models.append(self.measured(outputs, forget))
            seconds.append(took)
        return models, seconds

    def task(self, needs: tuple[str, ...], forget: ForgetSet, seed: int) -> tuple[Task, float]:
        """The task and the seconds that preparing the stored Fisher took."""
        images, rows = self.images, self.heldout
        fisher, seconds = self.fisher() if "fisher" in needs else (None, 0.0)
        retain = pictures_of(images, forget.retain_ids(images), CPU)
        heldout = Pictures(images.test_images[rows], images.test_labels[rows], rows)
        task = Task(
            self.original,
            pictures_of(images, forget.ids_tensor(), CPU),
            generator=torch.Generator().manual_seed(seed),
            retain=retain if "retain" in needs else None,
            heldout=heldout if "heldout" in needs else None,
            fisher=fisher,
        )
        return task, seconds


def run_cell(
    bench: Bench, method_name: str, seed: int, forget: ForgetSet, depth: float,
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One unlearning in memory, the defaults changed by `changes`: path, states, seconds."""
    method = get_method(method_name)
    sees_retain = "retain" in method.needs
    task, prepared_s = bench.task(method.needs, forget, seed)
    probe = Probe(bench.images, forget.ids_tensor(), bench.outputs, CPU)
    path: list[list[float | None]] = []
    crossing: dict[str, Any] = {}

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "probe":
            names = ("number", "forget_accuracy", "retain_accuracy", "heldout_accuracy")
            path.append([event[name] for name in names])
            # A run that is stopped at the depth is there at its end and not before.
            crossed = sees_retain and event["forget_accuracy"] <= depth and event["number"]
            if crossed and not crossing:
                crossing["state"] = copy.deepcopy(task.model.state_dict())
                crossing["number"] = event["number"]

    rule = StopRule("method") if sees_retain else StopRule("forget", forget_accuracy=depth)
    config = method.config(**(changes or {}))
    result = run_method(
        task, method, config, probe, rule, emit=listen, should_stop=lambda: False,
        probe_every=0 if not sees_retain else max(1, _steps_of(bench, config) // N_PROBES),
    )  # fmt: skip
    end = bench.measured(compute_outputs(task.model, bench.images, device=CPU), forget)
    at_depth = {"number": result.steps, **end} if result.reached else None
    if crossing:
        task.model.load_state_dict(crossing["state"])
        outputs = compute_outputs(task.model, bench.images, device=CPU)
        at_depth = {"number": crossing["number"], **bench.measured(outputs, forget)}
    return {
        "parameters": config.to_dict(),
        "steps": result.steps,
        "method_s": result.method_s + prepared_s,
        "end": end,
        "at_depth": at_depth,
        "path": path,
    }


def _steps_of(bench: Bench, config: MethodConfig) -> int:
    """About how many steps the method takes, to space the probes."""
    values = config.to_dict()
    return values["epochs"] * -(-bench.images.n_train // values["batch_size"])


def is_finished(cell: dict[str, Any] | None, method: str) -> bool:
    """Whether the cell is there, with the parameters that are the defaults now if it says which."""
    if cell is None:
        return False
    return cell.get("parameters") in (None, get_method(method).config().to_dict())


def cells_of(file: Path = CELLS) -> dict[tuple, dict[str, Any]]:
    """Finished cells by (images, set, seed, method); the retrained models have method ''."""
    found = {}
    if file.exists():
        for line in file.read_text().splitlines():
            cell = json.loads(line)
            found[cell["images"], cell["set"], cell["seed"], cell["method"]] = cell
    return found


def write_cell(cell: dict[str, Any], path: Path = CELLS) -> None:
    with path.open("a") as file:
        file.write(json.dumps(cell, allow_nan=False) + "\n")


def run_set(bench: Bench, kind: str, seed: int, methods: list[str], done: dict) -> None:
    """All cells of one forget set that are not there yet."""
    name = bench.images.name
    forget = bench.forget_set(kind, seed)
    key = {"images": name, "set": kind, "seed": seed}
    known = done.get((name, kind, seed, ""))
    if known is not None:
        depth = known["depth"]
    else:
        models, seconds = bench.retrained(forget)
        accuracies = [m["forget_accuracy"] for m in models]
        depth = CLASS_DEPTH if kind == "class" else sum(accuracies) / len(accuracies)
        before = bench.measured(bench.outputs, forget)
        write_cell(
            {**key, "method": "", "forget": forget.history[-1], "n_forget": len(forget.ids),
             "depth": depth, "before": before, "retrained": models, "retrain_s": seconds,
             "hardware": hardware()["summary"]}
        )  # fmt: skip
    todo = [m for m in methods if not is_finished(done.get((name, kind, seed, m)), m)]
    for method in tqdm(todo, desc=f"{name} {kind} {seed}"):
        try:
            cell = run_cell(bench, method, seed, forget, depth)
        except ImuError as error:
            cell = {"refused": str(error)}
        write_cell({**key, "method": method, **cell})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", default=["digits", "fashion-mnist:10000"])
    parser.add_argument("--sets", nargs="+", default=["class", "random", "chosen"])
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--methods", nargs="+", default=[m.name for m in all_methods()])
    parser.add_argument("--runs", default="runs", help="where retrained models are kept")
    parser.add_argument("--table", action="store_true", help="only make the table anew")
    arguments = parser.parse_args()
    if not arguments.table:
        store = RunStore(arguments.runs)
        for name in arguments.images:
            bench = Bench(name, store)
            for seed in arguments.seeds:
                for kind in arguments.sets:
                    run_set(bench, kind, seed, arguments.methods, cells_of())
    cells = list(cells_of().values())
    text = report(cells, __doc__ or "")
    (RESULTS / "methods.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
