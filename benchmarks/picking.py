"""How fast picking is: widgets in Chromium on 60,000 pictures, arithmetic, own folders.

    python benchmarks/picking.py [--images fashion-mnist] [--pictures 50000]

Prints a table and writes benchmarks/results/picking.json. Without Chromium only the arithmetic and
the folder are measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from imu_core.images import open_image_set  # noqa: E402
from imu_core.images.folder import read_folder  # noqa: E402
from imu_core.near_duplicates import near_duplicates  # noqa: E402
from imu_core.picking import (  # noqa: E402
    PictureFilter,
    filter_ids,
    inside_polygon,
    picture_columns,
    sort_ids,
)
from imu_core.thumbnails import picture_sheet  # noqa: E402

REPEATS = 7


@dataclass(frozen=True)
class Result:
    """One measured thing: the median of n values, against what it should stay below."""

    what: str
    median: float
    worst: float
    unit: str
    limit: float | None
    n: int


def result(what: str, values: list[float], unit: str, limit: float | None = None) -> Result:
    return Result(what, statistics.median(values), max(values), unit, limit, len(values))


def timed(action: Callable[[], object]) -> float:
    """Seconds that the action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


# ---- arithmetic ---------------------------------------------------------------------------------


def arithmetic(spec: str) -> list[Result]:
    images = open_image_set(spec)
    rng = np.random.default_rng(0)
    n = images.n_train
    logits = rng.normal(size=(n, images.n_classes)).astype(np.float32)
    columns = picture_columns(images.train_labels.numpy(), logits)
    wanted = PictureFilter(right=False, ranges={"confidence": (0.3, 1.0)})
    features = rng.normal(size=(n, 64)).astype(np.float32)
    points = rng.normal(size=(100_000, 2)).astype(np.float32)
    turn = np.linspace(0, 2 * np.pi, 150, endpoint=False)
    lasso = np.stack((np.cos(turn), np.sin(turn)), 1) * rng.uniform(0.6, 1.4, (150, 1))

    def repeat(what: str, action: Callable[[], object], limit: float | None = None) -> Result:
        action()
        return result(what, [timed(action) for _ in range(REPEATS)], "s", limit)

    def sort_and_filter() -> object:
        return sort_ids(filter_ids(columns, wanted), columns, "loss", descending=True)

    some = np.arange(500)
    sheet = images.train_images[:1000]
    return [
        repeat(f"filter and sort {n:,}", sort_and_filter, 0.3),
        repeat("150 corners over 100,000 points", lambda: inside_polygon(points, lasso)),
        repeat("sheet of 1,000 thumbnails", lambda: picture_sheet(sheet)),
        repeat(
            f"near-duplicates of 500 among {n:,}",
            lambda: near_duplicates(images.train_images, features, some),
        ),
    ]


# ---- own pictures -------------------------------------------------------------------------------


def own_pictures(spec: str, count: int) -> list[Result]:
    """Opening a folder of real pictures, 32×32 in colour, the first time and the second."""
    from PIL import Image

    images = open_image_set(spec)
    with tempfile.TemporaryDirectory() as folder:
        for label in range(images.n_classes):
            Path(folder, "set", str(label)).mkdir(parents=True)
        for number in range(count):
            place = number % images.n_train
            pixels = torch.nn.functional.pad(images.train_images[place, 0], (2, 2, 2, 2)).numpy()
            colour = np.stack((pixels, pixels // 2, 255 - pixels), -1)
            label = int(images.train_labels[place])
            Image.fromarray(colour).save(Path(folder, "set", str(label), f"{number:06}.png"))

        def open_it() -> object:
            return read_folder(Path(folder, "set"), cache=Path(folder, "cache"))

        return [
            result(f"{count:,} pictures from a folder", [timed(open_it)], "s", 60),
            result(f"{count:,} again, from the cache", [timed(open_it) for _ in range(3)], "s", 2),
        ]


# ---- the browser --------------------------------------------------------------------------------


@contextmanager
def serve(spec: str) -> Iterator[tuple[str, int]]:
    """Address and process id of a server of the small app that the browser tests use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = ROOT / "tests" / "e2e" / "apps" / "picking.py"
    command = [sys.executable, "-m", "streamlit", "run", str(app)]
    process = subprocess.Popen(
        [*command, "--server.port", str(port), "--server.headless", "true"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IMU_PICKING_IMAGES": spec},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(15)


def wait_for(address: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                if answer.read() == b"ok":
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise SystemExit("The server did not start.")


class Session:
    """One page of the small app, with what it sends and receives."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.sent: list[int] = []
        self.received: list[int] = []
        page.on("websocket", self._listen)

    def _listen(self, socket_: Any) -> None:
        socket_.on("framesent", lambda data: self.sent.append(len(data)))
        socket_.on("framereceived", lambda data: self.received.append(len(data)))

    def open(self, tiles: int) -> float:
        """Seconds from the address to that many tiles, drawn."""
        start = time.perf_counter()
        self.page.goto(f"{self.address}/?tiles={tiles}")
        self.until_tiles(tiles)
        return time.perf_counter() - start

    def until_tiles(self, count: int, first: int = 0) -> None:
        self.until(
            """([count, first]) => {
              const tiles = deep('.tile')
              return tiles.length === count
                && tiles[0].ariaLabel.startsWith(`picture ${first},`)
            }""",
            [count, first],
        )

    def until(self, condition: str, argument: object = None) -> None:
        """Wait until a condition holds and a frame is drawn after it."""
        find = "window.deep = s => { const all = []; const go = r => {"
        find += " all.push(...r.querySelectorAll(s));"
        find += " r.querySelectorAll('*').forEach(e => e.shadowRoot && go(e.shadowRoot)) };"
        find += " go(document); return all }"
        self.page.evaluate(find)
        self.page.wait_for_function(condition, arg=argument, polling="raf", timeout=120_000)
        self.page.evaluate(
            "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
        )

    def until_said(self, pattern: str) -> None:
        self.page.wait_for_function(
            "p => new RegExp(p).test(document.body.innerText)",
            arg=pattern,
            polling="raf",
            timeout=120_000,
        )

    def settle(self) -> None:
        """Wait until the app has nothing left to do."""
        self.page.wait_for_function(
            "() => document.querySelector('.stApp')?.dataset.testScriptState === 'notRunning'",
            timeout=120_000,
        )
        self.page.wait_for_timeout(300)
        self.sent.clear()
        self.received.clear()


def in_browser(spec: str) -> list[Result]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        print("Chromium is not here; the widgets are not measured.", file=sys.stderr)
        return []
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
    with serve(spec) as (address, pid), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        session = Session(context.new_page(), address)
        session.open(200)
        session.page.locator(".row").nth(1).wait_for(timeout=300_000)
        results = [
            *tiles(session),
            *clicks(session),
            *lassos(session),
            *pictures_at_the_pointer(session),
            result("memory of the server", [resident_mb(pid)], "MB", 1500),
        ]
        browser.close()
    return results


def tiles(session: Session) -> list[Result]:
    opened = []
    for _ in range(3):
        opened.append(session.open(1000))
        session.page.locator(".row").nth(1).wait_for(timeout=120_000)
        session.settle()
    turned = []
    number = session.page.get_by_label("Page", exact=True)
    for page in (2, 3, 4):
        number.fill(str(page))
        start = time.perf_counter()
        number.press("Enter")
        session.until_tiles(1000, first=1000 * (page - 1))
        turned.append(time.perf_counter() - start)
        session.settle()
    return [
        result("open the app with 1,000 tiles", opened, "s"),
        result("turn to a new page of 1,000 tiles", turned, "s", 2),
    ]


def clicks(session: Session) -> list[Result]:
    seconds, sent, received = [], [], []
    for number in range(1, REPEATS + 1):
        tile = session.page.locator(".tile").nth(3 * number)
        tile.hover()
        session.settle()
        start = time.perf_counter()
        tile.click()
        session.until_said(rf"forget {number}:")
        seconds.append(time.perf_counter() - start)
        session.page.wait_for_timeout(300)
        sent.append(float(sum(session.sent)))
        received.append(sum(session.received) / 1000)
    return [
        result("click → ids on screen, 1,000 tiles", seconds, "s", 0.3),
        result("a click sends", sent, "bytes"),
        result("a click brings back", received, "kB"),
    ]


def lassos(session: Session) -> list[Result]:
    mouse = session.page.mouse
    box = session.page.locator("canvas.above").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    seconds, sent = [], []
    for number in range(REPEATS):
        session.settle()
        before = session.page.get_by_text("forget ").first.inner_text()
        radius = 60 + 10 * number
        mouse.move(x + radius, y)
        mouse.down()
        for k in range(1, 200):
            turn = 2 * math.pi * k / 200
            wave = radius * (1 + 0.2 * math.sin(9 * turn))
            mouse.move(x + wave * math.cos(turn), y + wave * math.sin(turn))
        session.sent.clear()
        start = time.perf_counter()
        mouse.up()
        session.page.wait_for_function(
            "b => !document.body.innerText.includes(b)", arg=before, polling="raf"
        )
        seconds.append(time.perf_counter() - start)
        session.page.wait_for_timeout(50)
        sent.append(float(sum(session.sent)))
    return [
        result("lasso released → ids on screen", seconds, "s", 0.5),
        result("a lasso sends", sent, "bytes", 5000),
    ]


def pictures_at_the_pointer(session: Session) -> list[Result]:
    """From resting on a point to its picture, which is fetched with its neighbours."""
    mouse = session.page.mouse
    box = session.page.locator("canvas.above").bounding_box()
    seconds, received = [], []
    for number in range(REPEATS):
        session.settle()
        x = box["x"] + box["width"] * (0.35 + 0.05 * number)
        start = time.perf_counter()
        mouse.move(x, box["y"] + box["height"] * 0.5)
        session.page.locator(".tip.on .picture:not(.missing)").first.wait_for(timeout=10_000)
        seconds.append(time.perf_counter() - start)
        session.page.wait_for_timeout(100)
        received.append(sum(session.received) / 1000)
        mouse.move(5, 5)
    return [
        result("rest on a point → its picture", seconds, "s"),
        result("64 pictures at the pointer bring", received, "kB"),
    ]


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return math.nan


# ---- report -------------------------------------------------------------------------------------


def hardware() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def show(results: list[Result]) -> None:
    print(f"{'':44}{'median':>10}{'worst':>10}  unit    limit    n")
    for one in results:
        limit = "" if one.limit is None else f"< {one.limit:g}"
        numbers = f"{one.median:>10.3g}{one.worst:>10.3g}"
        print(f"{one.what:44}{numbers}  {one.unit:6}  {limit:7} {one.n:>2}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="fashion-mnist")
    parser.add_argument("--pictures", type=int, default=50_000, help="pictures of the folder")
    arguments = parser.parse_args()
    about = hardware()
    results = arithmetic(arguments.images)
    results += own_pictures(arguments.images, arguments.pictures)
    results += in_browser(arguments.images)
    show(results)
    record = {"images": arguments.images, "hardware": about, "results": list(map(asdict, results))}
    file = ROOT / "benchmarks" / "results" / "picking.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
