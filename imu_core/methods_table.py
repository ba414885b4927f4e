"""The README's table of methods, made from the registry.

`python -m imu_core.methods_table --write README.md` brings the table up to date.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from imu_core.errors import BadInput
from imu_core.methods.registry import Method, all_methods

BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"


def methods_table() -> str:
    """The table in Markdown, one row a method."""
    lines = ["| method | what it does | given | moves | paper |", "|---|---|---|---|---|"]
    lines += [_row(method) for method in all_methods()]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """`text` with the table between its two markers brought up to date."""
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if len(between.findall(text)) != 1:
        raise BadInput(f"The file needs one “{BEGIN}” and after it one “{END}”.")
    return between.sub(lambda _: f"{BEGIN}\n{methods_table()}\n{END}", text)


def _row(method: Method) -> str:
    cells = (
        f"`{method.name}`",
        method.summary,
        ", ".join(method.needs) or "nothing",
        method.scope,
        method.paper,
    )
    return "| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells) + " |"


def main() -> None:
    """Print the table, or write it into a file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.write is None:
        print(methods_table())
    else:
        text = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(with_table(text), encoding="utf-8")


if __name__ == "__main__":
    main()
