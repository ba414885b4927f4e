"""`imu images`, `imu networks`, `imu methods`."""

from __future__ import annotations

import argparse
import dataclasses

from imu_core.terminal.console import print_entries, print_json


def images(arguments: argparse.Namespace) -> int:
    """List the image sets and whether their files are on this machine."""
    from imu_core.images import image_sources

    sources = image_sources()
    if arguments.json:
        print_json([dataclasses.asdict(source) for source in sources])
        return 0
    print_entries(
        [
            (source.name, f"{'here' if source.available else 'not here'}  {source.sentence}")
            for source in sources
        ]
    )
    return 0


def networks(arguments: argparse.Namespace) -> int:
    """List the networks."""
    from imu_core.networks import network_table

    rows = network_table()
    if arguments.json:
        print_json(rows)
        return 0
    print_entries(
        [(row["name"], f"{row['parameters']:>12,} parameters  {row['sentence']}") for row in rows]
    )
    return 0


def methods(arguments: argparse.Namespace) -> int:
    """List the methods with what they are given and their parameters."""
    from imu_core.methods.registry import all_methods

    if arguments.json:
        print_json([method.to_dict() for method in all_methods()])
        return 0
    for method in all_methods():
        print(f"{method.name}: {method.summary}")
        print(f"  given: {', '.join(method.needs) or 'nothing'}; moves: {method.scope}")
        print(f"  paper: {method.paper}")
        for item in method.parameters():
            print(f"  --set {item['name']}={item['default']}  {item['doc']}{_range(item)}")
        print()
    return 0


def _range(item: dict) -> str:
    if item["choices"]:
        return f" ({' | '.join(item['choices'])})"
    low, high = item["low"], item["high"]
    if low is not None and high is not None:
        return f" ({low:g}–{high:g})"
    return f" (at least {low:g})" if low is not None else ""
