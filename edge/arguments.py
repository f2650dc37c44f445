"""What may be written on the command line, and its help."""

import argparse
import contextlib
import math
from pathlib import Path
from typing import TypeAlias, TypeVar

from edge import __version__

EPILOG = """\
Settings come from, later wins: defaults, /etc/edge-pose/config.toml (or --config), EDGE_POSE_<SECTION>_<KEY>
environment variables, the command line. `edge-pose config show` prints them with their origins.
Exit status: 0 done, 1 failed at run time, 2 wrong usage, 78 wrong configuration, also where it names a model, a
runtime or a certificate that is not there; 130 after Ctrl-C.
"""
SOURCE_HELP = (
    "picamera2[:N], /dev/videoN or N, rtsp://..., http(s)://..., a video file, an image, a folder of images, or sample"
)

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 -- it has no public name


def parser() -> argparse.ArgumentParser:
    """The parser of `edge-pose`; in its result, `command` is the command's name."""
    top = argparse.ArgumentParser(
        prog="edge-pose",
        description="Human pose keypoints from a camera, published over MQTT.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edge-pose {__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    _add_run(commands)
    _add_demo(commands)
    _add_predict(commands)
    _add_benchmark(commands)
    _add_evaluate(commands)
    _add_watch(commands)
    _add_homeassistant(commands)
    _add_config(commands)
    _add_models(commands)
    _add_doctor(commands)
    _add_snapshot(commands)
    return top


def _add(commands: Commands, name: str, help_: str, more: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}. {more}".strip(),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=_path, help="read settings from this file")


def _add_model_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="landmark model: lite (fastest), full or heavy (most exact)")
    parser.add_argument("--precision", metavar="P", help="number format: auto, int8, int8-full or float16")
    parser.add_argument("--device", metavar="DEVICE", help="what runs the models: cpu, or edgetpu[:usb|:pci][:N]")


def _add_acquisition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--acquisition", metavar="WAY", help="how people are found: verified, or single, as MediaPipe does it"
    )


def _add_max_people(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-people", metavar="N", type=_people, help="how many people are looked for, 1 to 5 (tracker.max_people: 1)"
    )


def _add_run(commands: Commands) -> None:
    parser = _add(
        commands,
        "run",
        "run the camera loop and publish keypoints over MQTT",
        "It ends when a file ends, after --duration, or at SIGTERM or Ctrl-C.",
    )
    _add_settings(parser)
    parser.add_argument("--source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument("--broker", metavar="URL", help="mqtt://HOST[:PORT], or mqtts:// with TLS")
    _add_model_settings(parser)
    _add_acquisition(parser)
    _add_max_people(parser)
    parser.add_argument("--duration", metavar="S", type=_seconds, help="stop after this many seconds")
    parser.add_argument("--loop", action="store_true", default=None, help="a file starts again at its end")
    parser.add_argument("--realtime", action="store_true", default=None, help="pace a file like a camera")
    parser.add_argument(
        "--print",
        action="store_true",
        help="write each message to standard output, a JSON line each; a file waits for whoever reads it, and of a "
        "camera's lines the oldest are left out when they are not read in time",
    )


def _add_demo(commands: Commands) -> None:
    parser = _add(
        commands,
        "demo",
        "run on a sample clip with a broker of its own and print what arrives",
        "It needs no camera, no broker and no configuration.",
    )
    parser.add_argument("--source", metavar="SRC", default="sample", help=f"{SOURCE_HELP} (default: sample)")
    _add_model_settings(parser)
    parser.add_argument(
        "--picture", metavar="FILE", type=_path, default=Path("edge-pose-demo.jpg"), help="where to draw a skeleton"
    )


def _add_predict(commands: Commands) -> None:
    parser = _add(
        commands,
        "predict",
        "find the poses in pictures, or in each frame of a video, without a broker",
        "Pictures are looked at one by one; in a video people are followed and keypoints smoothed.",
    )
    _add_settings(parser)
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", type=_name, help="an image, a folder of images, or a video file"
    )
    _add_model_settings(parser)
    _add_acquisition(parser)
    _add_max_people(parser)
    parser.add_argument("--world", action="store_true", default=None, help="add world coordinates in metres")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=_name,
        help="write a list of frames for each PATH to this file, poses as in docs/mqtt.md; - is standard output; "
        "a byte of a file's name that is no UTF-8 is written as \\xNN, and a backslash that would look so as \\x5c",
    )
    parser.add_argument("--draw", metavar="DIR", type=_path, help="write a picture with skeletons for every frame")


def _add_benchmark(commands: Commands) -> None:
    parser = _add(
        commands,
        "benchmark",
        "measure how fast this machine is",
        "The models by themselves, the loop on a clip and on a camera if there is one, and the loop for a minute.",
    )
    _add_settings(parser)
    parser.add_argument(
        "--source", metavar="SRC", help=f"{SOURCE_HELP} (default: sample, and a camera if there is one)"
    )
    parser.add_argument("--broker", metavar="URL", help="publish to this broker, not to one of the benchmark's own")
    _add_model_settings(parser)
    parser.add_argument("--frames", metavar="N", type=_frames, default=300, help="frames of the clip (default: 300)")
    parser.add_argument("--minutes", metavar="N", type=_minutes, default=1.0, help="length of the sustained run (1)")
    parser.add_argument("--json", metavar="FILE", type=_path, help="write the figures to this file")
    parser.add_argument("--html", metavar="FILE", type=_path, help="write a page with charts to this file")
    parser.add_argument("--compare", metavar="FILE", type=_path, help="compare with a file that --json wrote")
    parser.add_argument(
        "--quick", action="store_true", help="only try everything, in seconds; the figures mean nothing"
    )


def _add_evaluate(commands: Commands) -> None:
    parser = _add(
        commands,
        "evaluate",
        "measure the models against annotated people",
        "It prints the share of people found and PCK@0.1 and PCK@0.2 (share of joints within so many torsos).",
    )
    _add_settings(parser)
    parser.add_argument("annotations", metavar="ANNOTATIONS.json", type=_path, help="COCO person keypoints")
    parser.add_argument("images", metavar="IMAGES_DIR", type=_path, help="the folder with the annotated pictures")
    _add_model_settings(parser)
    _add_acquisition(parser)
    parser.add_argument(
        "--against", metavar="MODEL:P", help="compare with this model and precision on the same people, as full:float16"
    )
    parser.add_argument("--json", metavar="FILE", type=_path, help="write the result to this file too")


def _add_watch(commands: Commands) -> None:
    parser = _add(
        commands,
        "watch",
        "show every device on a broker, live in the terminal",
        "People in view, frames per second, latency, temperature and status, until Ctrl-C.",
    )
    _add_settings(parser)
    parser.add_argument("--broker", metavar="URL", help="mqtt://HOST[:PORT], or mqtts:// with TLS")
    parser.add_argument("--duration", metavar="S", type=_seconds, help="stop after this many seconds")


def _add_homeassistant(commands: Commands) -> None:
    parser = _add(
        commands,
        "homeassistant",
        "take this device out of Home Assistant",
        "The device is announced by `run` where mqtt.homeassistant is on; remove takes the announcement back.",
    )
    parser.add_argument("action", choices=("remove",), help="what to do")
    _add_settings(parser)
    parser.add_argument("--broker", metavar="URL", help="mqtt://HOST[:PORT], or mqtts:// with TLS")


def _add_config(commands: Commands) -> None:
    parser = _add(
        commands,
        "config",
        "show or check the settings in force",
        "show prints every setting as TOML with its origin; check only says whether they are right.",
    )
    parser.add_argument("action", choices=("show", "check"))
    _add_settings(parser)


def _add_models(commands: Commands) -> None:
    parser = _add(
        commands,
        "models",
        "list, verify, check or compile the model files",
        "list prints what there is and where it came from; verify compares each file's SHA-256 with the manifest; "
        "check-edgetpu says of a .tflite FILE (or of all int8-full models) which operators an Edge TPU would run; "
        "compile runs Coral's edgetpu_compiler.",
    )
    parser.add_argument("action", choices=("list", "verify", "check-edgetpu", "compile"))
    parser.add_argument("files", metavar="FILE", nargs="*", type=_path, help="for check-edgetpu: .tflite files")
    parser.add_argument("--model", metavar="MODEL", help="for compile: landmark model to go with the detector")
    parser.add_argument("--out", metavar="DIR", type=_path, help="for compile: a models folder to write (made if new)")
    _add_settings(parser)


def _add_doctor(commands: Commands) -> None:
    parser = _add(
        commands,
        "doctor",
        "check the host as `run` would find it",
        "A line a check: ok, warning or problem, with the exact mend. Status 1 if something would stop `run`.",
    )
    _add_settings(parser)
    parser.add_argument("--source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument("--broker", metavar="URL", help="mqtt://HOST[:PORT], or mqtts:// with TLS")
    _add_model_settings(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def _add_snapshot(commands: Commands) -> None:
    parser = _add(
        commands,
        "snapshot",
        "write one picture with ROI and skeleton, to aim a camera",
        "It waits a few seconds for somebody to come into view.",
    )
    _add_settings(parser)
    parser.add_argument("--source", metavar="SRC", help=SOURCE_HELP)
    _add_model_settings(parser)
    parser.add_argument("picture", metavar="OUT.jpg", type=_path, help="the file to write")


Number = TypeVar("Number", int, float)


def _name(text: str) -> str:
    """What names a file or folder; a shell's empty variable names none, and pathlib would make this folder of it."""
    if not text:
        raise argparse.ArgumentTypeError("given '', expected a name")
    return text


def _path(text: str) -> Path:
    return Path(_name(text))


def _seconds(text: str) -> float:
    return _positive(text, float, "a number of seconds above 0")


def _minutes(text: str) -> float:
    return _positive(text, float, "a number of minutes above 0")


def _frames(text: str) -> int:
    return _positive(text, int, "a whole number of at least 2", least=2)  # the first frame starts the clock


def _people(text: str) -> int:
    return _positive(text, int, "a whole number from 1 to 5", most=5)


def _positive(text: str, kind: type[Number], expected: str, *, least: float = 0, most: float = math.inf) -> Number:
    with contextlib.suppress(ValueError):
        value = kind(text)
        if 0 < value < math.inf and least <= value <= most:
            return value
    raise argparse.ArgumentTypeError(f"given {text!r}, expected {expected}")
