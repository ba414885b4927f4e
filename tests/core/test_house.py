"""Rules of the house: what imports what, where files lie, how errors and documents look."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
import torch

import imu_core
from imu_core import errors
from imu_core.methods import registry
from imu_core.methods.task import Pictures, Task
from imu_core.methods_table import with_table
from imu_core.networks.classifier import Classifier

ROOT = Path(imu_core.__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "imu_core").rglob("*.py"))
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(imu_core.__path__, prefix="imu_core.")
)
BANNED = {"streamlit", "plotly"}
LATE = {"torchvision", "umap", "captum"}


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of the packages that a syntax tree imports anywhere."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_the_engine_knows_no_page() -> None:
    for source in SOURCES:
        assert not imported(ast.parse(source.read_text())) & BANNED, source


def test_slow_packages_are_imported_inside_functions() -> None:
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        top = ast.Module([node for node in tree.body if not isinstance(node, ast.If)], [])
        for node in ast.walk(top):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = []
        assert not imported(top) & LATE, source


def test_every_module_imports_with_the_pages_packages_blocked() -> None:
    program = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(BANNED | LATE)!r}))\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(MODULES) > 30


def test_imports_in_the_engine_point_one_way() -> None:
    """Methods, evaluation and influence know nothing of runs; networks and images of neither."""
    above = {
        "images": {"networks", "influence", "methods", "evaluation", "runs", "terminal"},
        "networks": {"influence", "methods", "evaluation", "runs", "terminal"},
        "influence": {"methods", "evaluation", "runs", "terminal"},
        "evaluation": {"methods", "runs", "terminal"},
        "methods": {"runs", "terminal"},
        "runs": {"terminal"},
    }
    for source in SOURCES:
        folder = source.relative_to(ROOT / "imu_core").parts[0]
        text = source.read_text()
        found = set(re.findall(r"^\s*(?:from|import) imu_core\.(\w+)", text, re.MULTILINE))
        assert not found & above.get(folder, set()), source


def test_no_page_lies_directly_in_pages() -> None:
    """Streamlit would serve such a file as a page of its own on a cold deep link."""
    assert not list((ROOT / "pages").glob("*.py"))


def test_files_are_short_and_named_for_what_they_hold() -> None:
    for source in [*SOURCES, *(ROOT / "pages").rglob("*.py")]:
        assert len(source.read_text().splitlines()) <= 300, source
        assert source.stem not in {"utils", "helpers", "common", "misc"}, source


def test_nothing_is_left_to_be_done_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b")
    for source in [*SOURCES, *(ROOT / "pages").rglob("*.py"), ROOT / "README.md"]:
        assert not marks.search(source.read_text()), source


def test_the_table_of_methods_in_the_readme_is_that_of_the_registry() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_table(readme) == readme, "run: python -m imu_core.methods_table --write README.md"
    for method in registry.all_methods():
        assert f"| `{method.name}` |" in readme


def test_a_document_without_the_markers_is_refused() -> None:
    with pytest.raises(errors.BadInput, match="methods: begin"):
        with_table("# A page without a table\n")


def test_the_example_method_of_the_readme_unlearns(monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    registry.all_methods()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(compile(code, "README.md", "exec"), module.__dict__)
    method = registry.get_method("fading_ascent")

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8, generator=generator)
    pictures = Pictures(images, torch.arange(40) % 3, torch.arange(40))
    body, head = torch.nn.Flatten(), torch.nn.Linear(16, 3)
    task = Task(Classifier(body, head, [0.5], [0.3]), pictures, generator=generator)
    steps = list(method.steps(task, method.config.from_mapping({"steps": "30", "lr": "0.1"})))
    assert [step.number for step in steps] == list(range(1, 31))
    assert steps[-1].loss > steps[0].loss
    assert torch.equal(task.original.head.weight, head.weight)
    assert not torch.equal(task.model.head.weight, head.weight)


def test_errors_are_one_family_with_sentences() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not errors.Cancelled
    ]
    assert len(kinds) >= 6
    assert all(issubclass(kind, errors.ImuError) for kind in kinds)
    said = str(errors.UnknownName("method", "imus", ["imu", "fine_tune"]))
    assert said == "There is no method “imus”. Did you mean imu?"
    assert "Known: imu, fine_tune." in str(errors.UnknownName("method", "zz", ["imu", "fine_tune"]))


def test_messages_of_errors_are_whole_sentences() -> None:
    """A message spelled out in a raise that begins like a sentence ends with a full stop."""
    family = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    family -= {"UnknownName", "Cancelled", "Iterable"}
    seen = 0
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            call = node.exc
            if not (isinstance(call.func, ast.Name) and call.func.id in family and call.args):
                continue
            first, last = spelled(call.args[0])
            seen += 1
            if first is not None and last is not None and first[0].isupper():
                assert last[-1] == ".", f"{source}: {ast.unparse(call)}"
    assert seen > 20


def spelled(node: ast.expr) -> tuple[str | None, str | None]:
    """The literal beginning and end of a message; None where it is not literal."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    ends = [part.value if isinstance(part, ast.Constant) else None for part in parts]
    return ends[0] or None, ends[-1] or None


def test_the_server_is_safe_as_it_comes() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["enableCORS"] is True
    assert config["client"]["showErrorDetails"] in {"type", "none"}
    assert config["browser"]["gatherUsageStats"] is False
    for mode in ("light", "dark"):
        theme = config["theme"][mode]
        assert len(theme["chartSequentialColors"]) == 10
        assert contrast(theme["textColor"], theme["backgroundColor"]) >= 7
        assert contrast(theme["primaryColor"], "#FFFFFF") >= 4.5
        assert contrast(theme["linkColor"], theme["backgroundColor"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two `#RRGGBB` colours (WCAG 2, relative luminance)."""

    def luminance(colour: str) -> float:
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_constraints_name_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 40
    assert all(re.match(r"^[a-z0-9-]+==[0-9][^ /]*( ; .*)?$", line) for line in pins)
    assert not any("://" in line for line in lines)
    # PyTorch comes from different places on different machines: it is not pinned.
    assert not any(re.match(r"(torch|nvidia|cuda|triton)", line) for line in pins)


def test_the_entry_point_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["imu"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert project["version"] == imu_core.__version__
