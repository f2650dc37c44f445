"""The commands, and nothing else: arguments in, exit status out."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge import __version__, config, validate
from edge.camera import redact
from edge.errors import EdgePoseError
from edge.service import level_prefix, log_to_journal

EPILOG = """\
Settings come from, later wins: defaults, /etc/edge-pose/config.toml (or --config), EDGE_POSE_<SECTION>_<KEY>
environment variables, the command line. `edge-pose config show` prints them with their origins.
Exit status: 0 done, 1 failed at run time, 2 wrong usage, 78 wrong configuration.
"""
SOURCE_HELP = (
    "picamera2[:N], /dev/videoN or N, rtsp://..., http(s)://..., a video file, an image, a folder of images, or sample"
)

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    options = _parser().parse_args(arguments)
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="edge-pose: %(levelname)s: %(message)s")
    try:
        command: Command = options.command
        return command(options)
    except EdgePoseError as error:
        print(f"{level_prefix(logging.ERROR)}edge-pose: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (as `| head` does). Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-pose",
        description="Human pose keypoints from a camera, published over MQTT.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-pose {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_demo(commands)
    _add_predict(commands)
    _add_benchmark(commands)
    _add_evaluate(commands)
    _add_config(commands)
    _add_models(commands)
    return parser


def _add(commands: Any, name: str, function: Command, help_: str, more: str = "") -> argparse.ArgumentParser:  # noqa: ANN401 -- argparse's type of subparsers is private
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}. {more}".strip(),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help="read settings from this file")


def _add_model_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="landmark model: lite (fastest), full or heavy (most exact)")
    parser.add_argument("--precision", metavar="P", help="number format: auto, int8, int8-full or float16")
    parser.add_argument("--device", metavar="DEVICE", help="what runs the models: cpu")


def _add_run(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "run",
        _run,
        "run the camera loop and publish keypoints over MQTT",
        "It ends when a file ends, after --duration, or at SIGTERM or Ctrl-C.",
    )
    _add_settings(parser)
    parser.add_argument("--source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument("--broker", metavar="URL", help="mqtt://HOST[:PORT], or mqtts:// with TLS")
    _add_model_settings(parser)
    parser.add_argument("--duration", metavar="S", type=_seconds, help="stop after this many seconds")
    parser.add_argument("--loop", action="store_true", default=None, help="a file starts again at its end")
    parser.add_argument("--realtime", action="store_true", default=None, help="pace a file like a camera")
    parser.add_argument("--print", action="store_true", help="write each message to standard output, a JSON line each")


def _add_demo(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "demo",
        _demo,
        "run on a sample clip with a broker of its own and print what arrives",
        "It needs no camera, no broker and no configuration.",
    )
    parser.add_argument("--source", metavar="SRC", default="sample", help=f"{SOURCE_HELP} (default: sample)")
    _add_model_settings(parser)
    parser.add_argument(
        "--picture", metavar="FILE", type=Path, default=Path("edge-pose-demo.jpg"), help="where to draw a skeleton"
    )


def _add_predict(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "predict",
        _predict,
        "find the poses in pictures, or in each frame of a video, without a broker",
        "Pictures are looked at one by one; in a video people are followed and keypoints smoothed.",
    )
    _add_settings(parser)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="an image, a folder of images, or a video file")
    _add_model_settings(parser)
    parser.add_argument("--world", action="store_true", default=None, help="add world coordinates in metres")
    parser.add_argument("--json", metavar="FILE", help="write all poses to this file; - is standard output")
    parser.add_argument("--draw", metavar="DIR", type=Path, help="write a picture with skeletons for every frame")


def _add_benchmark(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "benchmark",
        _benchmark,
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
    parser.add_argument("--minutes", metavar="N", type=_seconds, default=1.0, help="length of the sustained run (1)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to this file")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with charts to this file")
    parser.add_argument("--compare", metavar="FILE", type=Path, help="compare with a file that --json wrote")
    parser.add_argument(
        "--quick", action="store_true", help="only try everything, in seconds; the figures mean nothing"
    )


def _add_evaluate(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "evaluate",
        _evaluate,
        "measure the models against annotated people",
        "It prints the share of people found and PCK@0.1 and PCK@0.2 (share of joints within so many torsos).",
    )
    _add_settings(parser)
    parser.add_argument("annotations", metavar="ANNOTATIONS.json", type=Path, help="COCO person keypoints")
    parser.add_argument("images", metavar="IMAGES_DIR", type=Path, help="the folder with the annotated pictures")
    _add_model_settings(parser)
    parser.add_argument(
        "--against", metavar="MODEL:P", help="compare with this model and precision on the same people, as full:float16"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result to this file too")


def _add_config(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "config",
        _config,
        "show or check the settings in force",
        "show prints every setting as TOML with its origin; check only says whether they are right.",
    )
    parser.add_argument("action", choices=("show", "check"))
    _add_settings(parser)


def _add_models(commands: Any) -> None:  # noqa: ANN401 -- as above
    parser = _add(
        commands,
        "models",
        _models,
        "list or verify the model files",
        "list prints what there is and where it came from; verify compares each file's SHA-256 with the manifest.",
    )
    parser.add_argument("action", choices=("list", "verify"))
    _add_settings(parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _frames(text: str) -> int:
    value = int(text)
    if value < 2:  # the first frame starts the clock
        raise ValueError
    return value


def _load(options: argparse.Namespace) -> config.Settings:
    """The settings in force under the command line's options; an option that was not given is None."""
    names = {
        "camera.source": "source",
        "camera.loop": "loop",
        "camera.realtime": "realtime",
        "model.model": "model",
        "model.precision": "precision",
        "model.device": "device",
        "mqtt.broker": "broker",
        "pipeline.world": "world",
    }
    overrides = {setting: getattr(options, name, None) for setting, name in names.items()}
    return validate.load(getattr(options, "config", None), overrides).settings


def _run(options: argparse.Namespace) -> int:
    from edge.run import RunOptions, run

    log_to_journal()
    run(_load(options), RunOptions(options.duration, options.print))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from edge.demo import demo

    return demo(_load(options), options.picture)


def _predict(options: argparse.Namespace) -> int:
    from edge.predict import Outputs, predict

    return predict(options.paths, _load(options), Outputs(options.json, options.draw))


def _benchmark(options: argparse.Namespace) -> int:
    from edge.benchmark import BenchmarkOptions, benchmark

    wanted = BenchmarkOptions(
        source=options.source,
        broker=options.broker,
        model=options.model,
        frames=options.frames,
        sustained_s=options.minutes * 60,
        json_file=options.json,
        html_file=options.html,
        compare=options.compare,
        quick=options.quick,
    )
    return benchmark(_load(options), wanted)


def _evaluate(options: argparse.Namespace) -> int:
    from edge.evaluate import evaluate

    settings = [_load(options)]
    if options.against:
        options.model, _, precision = options.against.partition(":")
        options.precision = precision or None
        settings.append(_load(options))
    evaluate(options.annotations, options.images, settings, options.json)
    return 0


def _config(options: argparse.Namespace) -> int:
    loaded = validate.load(options.config)
    if options.action == "show":
        sys.stdout.write(config.as_toml(_without_secrets(loaded)))
    else:
        print("The settings are right.")
    return 0


def _without_secrets(loaded: config.Loaded) -> config.Loaded:
    """The settings as they may be shown to others: what `config show` prints ends up in bug reports."""
    settings = loaded.settings
    shown = msgspec.structs.replace(settings.camera, source=redact(settings.camera.source))
    return config.Loaded(msgspec.structs.replace(settings, camera=shown), loaded.origins)


def _models(options: argparse.Namespace) -> int:
    from edge.manifest import ModelStore
    from edge.modelcheck import list_models, verify_models

    directory = validate.load(options.config).settings.model.directory
    store = ModelStore(Path(directory) if directory else None)
    return list_models(store) if options.action == "list" else verify_models(store)
