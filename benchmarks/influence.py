"""Speed of the influence engine beside Captum and kronfluence, on the same weights and pictures.

    python benchmarks/influence.py [--threads 2] [--repeats 7] [--device cpu]

Weights are the bundled small CNN's, trained on 10,000 pictures of Fashion-MNIST; ResNet-18 has the
weights it is born with, which takes the same time. Every figure is a median; compared calls take
turns, so that a busy machine slows both. Writes benchmarks/results/influence-<device>.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hardware import hardware
from influence_peers import kronfluence_head, per_sample_imu_scores, tracin_fast
from scipy import stats
from timing import Clock, Row, collect, installed, peak_memory
from torch import Tensor

from imu_core.device import forward_batch, pick_device
from imu_core.images import ImageSet, open_image_set
from imu_core.influence import (
    Cholesky,
    HeadProblem,
    Influence,
    Kronecker,
    gradient_products,
    head_problem,
    predict_removal,
    refit,
)
from imu_core.influence.imu_scores import imu_scores
from imu_core.networks import build_network, load_checkpoint
from imu_core.networks.bundled import bundled_checkpoint
from imu_core.networks.classifier import Classifier

RESULTS = Path(__file__).parent / "results"
IMAGES = "fashion-mnist:10000"
PEERS = ("captum", "kronfluence")


def passed(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of all pictures."""
    features, logits = [], []
    with torch.inference_mode():
        for batch in images.split(forward_batch(images.device)):
            features.append(classifier.features(batch))
            logits.append(classifier.head(features[-1]))
        return torch.cat(features), torch.cat(logits)


def bare_forward(classifier: Classifier, images: Tensor) -> None:
    with torch.inference_mode():
        for batch in images.split(forward_batch(images.device)):
            classifier(batch)


def first_answer(clock: Clock, classifier: Classifier, images: ImageSet) -> list[Row]:
    """From pixels to the scores of all training pictures on one test picture."""
    device = clock.device
    training = images.train_images.to(device)
    labels, query = images.train_labels.to(device), images.test_images[:1].to(device)
    query_label = images.test_labels[:1].to(device)

    def instant() -> Tensor:
        features, logits = passed(classifier, training)
        problem = head_problem(classifier, features, labels, logits=logits)
        asked, _ = passed(classifier, query)
        return Influence(problem, Kronecker(problem)).on_each(asked, query_label)

    def exact() -> Tensor:
        features, logits = passed(classifier, training)
        problem = head_problem(classifier, features, labels, logits=logits)
        problem = refit(problem).problem
        asked, _ = passed(classifier, query)
        return Influence(problem, Cholesky(problem)).on_each(asked, query_label)

    bare, fast, slow = clock.medians(lambda: bare_forward(classifier, training), instant, exact)
    against = f"bare forward over {len(training):,}"
    return [
        Row(
            "first answer, Kronecker form",
            fast,
            against,
            bare,
            "≤ 1.25 ×",
            fast <= 1.25 * bare,
        ),
        Row("first answer, head refit and exact", slow, against, bare),
    ]


def cached(
    clock: Clock,
    as_trained: HeadProblem,
    problem: HeadProblem,
    classifier: Classifier,
    images: ImageSet,
    peers: list[str],
) -> list[Row]:
    """100 test pictures against all training pictures, with features at hand.

    Ranks are compared at the head `as_trained`, which is the one the others know.
    """
    device = clock.device
    queries = images.test_images[:100].to(device)
    asked, labels = passed(classifier, queries)[0], images.test_labels[:100].to(device)
    curvature, kronecker = Cholesky(problem), Kronecker(problem)
    fast = Influence(problem, kronecker)
    exact = Influence(problem, curvature)
    calls: list[Callable[[], Any]] = [
        lambda: fast.on_each(asked, labels),
        lambda: exact.on_each(asked, labels),
    ]
    training, targets = images.train_images.to(device), images.train_labels.to(device)
    seconds = clock.medians(*calls)
    size = f"100 × {problem.n:,} with cached features"
    rows = [
        Row(f"{size}, {name}", taken, limit="≤ 50 ms", reached=taken <= 0.05)
        for name, taken in zip(("Kronecker", "exact"), seconds, strict=True)
    ]
    if "captum" in peers:
        tracer = tracin_fast(classifier, training, targets, queries, labels)
        ours, theirs = clock.medians(lambda: gradient_products(problem, asked, labels), tracer)
        agree = rank(gradient_products(as_trained, asked, labels), tracer())
        note = f"rank correlation with its scores {agree:.5f} (it leaves the bias out)"
        rows.append(Row(f"{size}, gradient products", ours, "TracInCPFast", theirs, note=note))
    if "kronfluence" in peers:
        fit, score = kronfluence_head(classifier, training, targets, queries, labels)
        factors, fitted = clock.medians(lambda: Kronecker(problem), fit, warm=False)
        rows.append(Row("Kronecker factors of the head", factors, "kronfluence K-FAC", fitted))
        ours, theirs = clock.medians(lambda: fast.on_each(asked, labels), score, warm=False)
        rows.append(Row(f"{size}, Kronecker", ours, "kronfluence", theirs))
        one, again = score(), (fit(), score())[1]
        own = Influence(as_trained, Kronecker(as_trained)).on_each(asked, labels)
        note = (
            f"rank correlation of our scores with its {rank(own, one):.3f}; of its own with those "
            f"of a second fit {rank(one, again):.3f}: it draws the labels that we sum over, "
            "and damps otherwise"
        )
        rows.append(Row("Kronecker scores, agreement", ours, note=note))
    return rows


def after_factorisation(clock: Clock, problem: HeadProblem) -> list[Row]:
    """The one-off costs, self-influence, and predicted removal of 100 pictures."""
    curvature = Cholesky(problem)
    influence = Influence(problem, curvature)
    some = torch.arange(100)
    solve, own, step, again = clock.medians(
        lambda: Cholesky(problem),
        influence.self_influence,
        lambda: predict_removal(problem, some, "newton", curvature=curvature),
        lambda: predict_removal(problem, some, "refit", curvature=curvature),
    )
    n = f"{problem.n:,}"
    return [
        Row(f"Hessian formed and factorised, {problem.n_weights:,} weights", solve),
        Row(f"self-influence of {n}, exact", own, limit="≤ 1 s", reached=own <= 1),
        Row("removal of 100, one Newton step", step),
        Row("removal of 100, exact refit", again),
    ]


def imu_scores_rows(
    clock: Clock, classifier: Classifier, name: str, images: Tensor, labels: Tensor, least: float
) -> list[Row]:
    """IMU's scores in closed form against autograd for each picture, as released and at its least.

    The limit is on the code as released.
    """
    images, labels = images.to(clock.device), labels.to(clock.device)

    def closed(n: int) -> Tensor:
        scored = passed(classifier, images[:n])
        return imu_scores(*scored, labels[:n], damping=0.01, damping_mode="absolute")

    def looped(n: int, passes: int = 2) -> Tensor:
        return per_sample_imu_scores(classifier, images[:n], labels[:n], 0.01, passes=passes)

    few, n = 100, len(images)
    difference = float((closed(few) - looped(few)).abs().max() / closed(few).abs().max())
    turns = Clock(clock.device, min(clock.repeats, 3), clock.processor_time)
    ours, released, single = turns.medians(
        lambda: closed(n), lambda: looped(n), lambda: looped(n, 1), warm=False
    )
    title = f"IMU scores of {len(images):,} pictures, {name}"
    note = f"largest relative difference {difference:.0e}"
    limit, reached = f"≥ {least:g} × faster", released >= least * ours
    return [
        Row(title, ours, "autograd a picture, as released", released, limit, reached, note),
        Row(title, ours, "autograd a picture, one pass", single),
    ]


def imu_rows(clock: Clock, classifier: Classifier, n_big: int) -> list[Row]:
    """The 6,000 pictures of one class with the small CNN, and some or all with ResNet-18."""
    whole = open_image_set("fashion-mnist")
    ids = whole.ids_of_class(0)
    images, labels = whole.train_images[ids], whole.train_labels[ids]
    rows = imu_scores_rows(clock, classifier, "small CNN", images, labels, 8)
    mean, std = whole.pixel_statistics
    big = build_network(
        "resnet18", image_shape=(1, 28, 28), n_classes=10, mean=mean, std=std, seed=0
    ).to(device=clock.device, memory_format=torch.channels_last)
    on_gpu = clock.device.type == "cuda"
    n = len(images) if on_gpu else n_big
    least = 50 if on_gpu else 3
    return rows + imu_scores_rows(clock, big, "ResNet-18", images[:n], labels[:n], least)


def memory_row(clock: Clock) -> tuple[Row, dict[str, float]]:
    """One Hessian product at 100,000 × 2,048 × 100, and the memory it took beside its inputs."""
    n, d, n_classes = 100_000, 2048, 100
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n, d, generator=generator).half()
    labels = torch.arange(n) % n_classes
    problem = HeadProblem(features, labels, torch.zeros(n_classes, d, device=clock.device))
    problem.theta  # noqa: B018
    vector = torch.ones(1, n_classes, d, dtype=torch.float64, device=clock.device)
    reset, peak = peak_memory(clock.device)
    reset()
    before = peak()
    seconds = clock.once(lambda: problem.hessian_times(vector))
    extra = (peak() - before) / 2**20
    whole = n * (d + 4 * n_classes) * 8 / 2**20
    note = f"peak {extra:.0f} MB beside the features; without chunks {whole:,.0f} MB"
    row = Row(
        f"one Hessian product, {n:,} × {d:,} × {n_classes}",
        seconds,
        limit="≤ 400 MB",
        reached=extra <= 400,
        note=note,
    )
    return row, {"peak_mb": extra, "without_chunks_mb": whole}


def rank(one: Tensor, other: Tensor) -> float:
    return float(stats.spearmanr(one.flatten().cpu(), other.flatten().cpu()).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--big-pictures", type=int, default=300, help="pictures for ResNet-18")
    parser.add_argument(
        "--processor-time", action="store_true", help="for a busy machine, with --threads 1"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    clock = Clock(device, arguments.repeats, arguments.processor_time)
    images = open_image_set(IMAGES)
    path = bundled_checkpoint(IMAGES)
    assert path is not None, f"{IMAGES} has no bundled checkpoint"
    classifier = load_checkpoint(path, image_set=images)[0].to(device)
    classifier = classifier.to(memory_format=torch.channels_last)
    peers = list(installed(PEERS))

    features, logits = passed(classifier, images.train_images.to(device))
    labels = images.train_labels.to(device)
    as_trained = head_problem(classifier, features.clone(), labels, logits=logits)
    problem = refit(as_trained).problem
    rows: list[Row] = []
    collect(rows, first_answer(clock, classifier, images))
    collect(rows, cached(clock, as_trained, problem, classifier, images, peers))
    collect(rows, after_factorisation(clock, problem))
    memory, bytes_taken = memory_row(clock)
    collect(rows, [memory])
    collect(rows, imu_rows(clock, classifier, arguments.big_pictures))
    record = {
        "hardware": hardware(),
        "load_at_end": os.getloadavg()[0],
        "versions": installed(("torch", "numpy", *PEERS)),
        "repeats": arguments.repeats,
        "clock": "processor time" if arguments.processor_time else "wall",
        "images": IMAGES,
        "memory": bytes_taken,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"influence-{device.type}.json"
    target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
