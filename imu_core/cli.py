"""The `imu` command: the jobs of the studio from a terminal.

Data goes to stdout, progress to stderr. Exit code 0: done; 2: a mistake the person can mend, told
in one line; 1: a fault. This module imports nothing heavy, so that `imu --help` answers at once;
a command's module is imported when the command is called.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from imu_core import __version__
from imu_core.errors import BadInput, Cancelled, ImuError

FORGET_HELP = (
    "the pictures to forget: class=3, class=3,5, random=10%%, random=100, ids=4,8,15, "
    "file=set.csv or a rule such as hardest=50; joined with + and -"
)
STOP_HELP = "when to stop: steps=200, forget<=0.01 or forget<=heldout (default: the method's steps)"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `BadInput` instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message[:1].upper()}{message[1:].rstrip('.')}. See “{self.prog} --help”.")


def build_parser() -> Parser:
    """The parser of the whole command line; `target` of a parsed line is `module:function`."""
    parser = Parser(
        prog="imu",
        description="Choose pictures, unlearn them, judge the result.",
        epilog="Exit code 0: done, 2: something to mend in the call, 1: a fault.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"imu-studio {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=Parser
    )
    for add in (
        _add_lists,
        _add_train,
        _add_model_import,
        _add_unlearn,
        _add_influence,
        _add_runs,
        _add_app,
    ):
        add(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, target: str, help: str) -> Parser:
    parser = commands.add_parser(
        name, help=help, description=help[:1].upper() + help[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(target=target)
    return parser


def _add_lists(commands: argparse._SubParsersAction) -> None:
    for name, help in (
        ("images", "list the image sets"),
        ("networks", "list the networks"),
        ("methods", "list the unlearning methods and their parameters"),
    ):
        parser = _command(commands, name, f"listing:{name}", help)
        _add_json(parser)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "train", "training:train", "train a classifier and save it")
    _add_images(parser)
    parser.add_argument("--network", metavar="N", help="network (default: that of the image set)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed (default: 0)")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the checkpoint to write (.safetensors)"
    )
    _add_device(parser)


def _add_model_import(commands: argparse._SubParsersAction) -> None:
    parent = commands.add_parser("model", help="bring in a model of your own", allow_abbrev=False)
    parent.description = "Bring in a model of your own."
    inner = parent.add_subparsers(
        dest="action",
        metavar="COMMAND",
        required=True,
        parser_class=Parser,
        help="what to do with it",
    )
    parser = _command(
        inner, "import", "own_model:import_model", "make a checkpoint of weights from elsewhere"
    )
    parser.add_argument("file", metavar="FILE", help="weights: .safetensors, or .pt and .pth")
    parser.add_argument(
        "--network",
        required=True,
        metavar="N",
        help="their network: one of “imu networks”, or torchvision:NAME such as "
        "torchvision:resnet18",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="input side of a torchvision network (224)"
    )
    parser.add_argument(
        "--normalise",
        default="pictures",
        metavar="P",
        help="mean and deviation: pictures, imagenet, half or none (default: pictures)",
    )
    for name, what in (("mean", "mean"), ("std", "deviation")):
        parser.add_argument(
            f"--{name}", metavar="X,X,X", help=f"{what} of pixels in 0–1, one a channel or for all"
        )
    parser.add_argument(
        "--allow-pt", action="store_true", help="read .pt and .pth (tensors only, no code)"
    )
    _add_images(parser)
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the checkpoint to write (.safetensors)"
    )
    _add_device(parser)
    _add_json(parser)


def _add_unlearn(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "unlearn", "unlearning:unlearn", "unlearn a forget set and measure the result"
    )
    _add_images(parser)
    _add_model(parser)
    parser.add_argument("--forget", required=True, metavar="SPEC", help=FORGET_HELP)
    parser.add_argument(
        "--protect", metavar="SPEC", help="retain pictures whose fate is watched (like --forget)"
    )
    parser.add_argument("--method", required=True, metavar="M", help="method, see “imu methods”")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", help="a parameter; may be repeated"
    )
    parser.add_argument("--stop", default="", metavar="SPEC", help=STOP_HELP)
    parser.add_argument(
        "--seeds", default="0", metavar="S,S", help="one run for each seed (default: 0)"
    )
    parser.add_argument(
        "--retrain",
        type=int,
        default=0,
        metavar="COUNT",
        help="references trained without the forget set, shared by the runs (default: 0)",
    )
    _add_runs_folder(parser)
    _add_device(parser)
    _add_json(parser)


def _add_influence(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "influence", "influence:influence", "score the influence of the forget pictures"
    )
    _add_images(parser)
    _add_model(parser)
    parser.add_argument("--forget", required=True, metavar="SPEC", help=FORGET_HELP)
    parser.add_argument(
        "--kind", default="imu", metavar="KIND", help="kind of influence (default: imu)"
    )
    parser.add_argument(
        "--out", metavar="FILE.csv", help="write id, label and score here instead of to stdout"
    )
    _add_runs_folder(parser)
    _add_device(parser)
    _add_json(parser)


def _add_runs(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "compare", "comparing:compare", "put runs side by side in a table")
    parser.add_argument(
        "run", nargs="*", metavar="RUN", help="a run's id, or its folder; none: list the runs"
    )
    _add_runs_folder(parser)
    _add_json(parser)
    parser = _command(
        commands, "report", "comparing:report", "write the evidence file of a run as one HTML page"
    )
    parser.add_argument("run", metavar="RUN", help="a run's id, or its folder")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="the file to write")
    _add_runs_folder(parser)


def _add_app(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "app", "serving:app", "open the studio in the browser")
    parser.add_argument("--port", type=int, default=8501, metavar="P", help="(default: 8501)")
    parser.add_argument(
        "--allow-pt",
        action="store_true",
        help="let the page read .pt and .pth files of this machine (as IMU_ALLOW_PT=1 does)",
    )
    _add_runs_folder(parser)
    parser = _command(
        commands, "doctor", "doctor:doctor", "say what is installed, found and writable here"
    )
    _add_runs_folder(parser)


def _add_images(parser: Parser) -> None:
    parser.add_argument(
        "--images", default="digits", metavar="I", help="image set, see “imu images” (digits)"
    )
    parser.add_argument(
        "--download", action="store_true", help="allow fetching the image set from its source"
    )


def _add_model(parser: Parser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--network", metavar="N", help="train an original of this network, or use the kept one"
    )
    model.add_argument("--checkpoint", metavar="FILE", help="the original model (.safetensors)")


def _add_runs_folder(parser: Parser) -> None:
    parser.add_argument(
        "--runs", metavar="DIR", help="folder of the runs (default: $IMU_RUNS, or ./runs)"
    )


def _add_device(parser: Parser) -> None:
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda (default: auto)"
    )


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line `argv` (default: that of the process)."""
    try:
        return _run(argv)
    except ImuError as error:
        print(f"imu: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt):
        print("imu: cancelled.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has left (`imu images | head`); what is buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("IMU_DEBUG") == "1":
            traceback.print_exc()
        said = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"imu: fault: {said} (IMU_DEBUG=1 shows where)", file=sys.stderr)
        return 1


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    module, function = arguments.target.split(":")
    command = getattr(importlib.import_module(f"imu_core.terminal.{module}"), function)
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
