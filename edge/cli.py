"""The commands, and nothing else: arguments in, exit status out."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge import streams, validate
from edge.arguments import parser
from edge.camera import redact
from edge.config import Settings
from edge.config_load import Loaded, as_toml
from edge.errors import EdgePoseError, UsageError
from edge.service import log_to_journal
from edge.signals import clean_up_on_signals

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    streams.claim()
    try:
        status = _do(arguments)
    except SystemExit as ended:  # argparse's: --help, --version, a command line that makes no sense
        status = int(ended.code or 0)
    return streams.finish(status)


def _do(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="edge-pose: %(levelname)s: %(message)s")
    try:
        return COMMANDS[options.command](options)
    except EdgePoseError as error:
        streams.complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def _load(options: argparse.Namespace) -> Settings:
    """The settings in force under the command line's options."""
    return validate.load(getattr(options, "config", None), _overrides(options)).settings


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line sets; an option that was not given is None."""
    names = {
        "camera.source": "source",
        "camera.loop": "loop",
        "camera.realtime": "realtime",
        "model.model": "model",
        "model.precision": "precision",
        "model.device": "device",
        "mqtt.broker": "broker",
        "tracker.acquisition": "acquisition",
        "tracker.max_people": "max_people",
        "pipeline.world": "world",
    }
    return {setting: getattr(options, name, None) for setting, name in names.items()}


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

    clean_up_on_signals()
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
        print(as_toml(_without_secrets(loaded)), end="")
    else:
        validate.check_files(loaded.settings)
        print("The settings are right.")
    return 0


def _without_secrets(loaded: Loaded) -> Loaded:
    """The settings as they may be shown to others: what `config show` prints ends up in bug reports."""
    settings = loaded.settings
    shown = msgspec.structs.replace(settings.camera, source=redact(settings.camera.source))
    return Loaded(msgspec.structs.replace(settings, camera=shown), loaded.origins)


def _models(options: argparse.Namespace) -> int:
    from edge.manifest import ModelStore

    if options.files and options.action != "check-edgetpu":
        raise UsageError(f"models {options.action}: takes no FILE; only check-edgetpu does")
    settings = _load(options).model
    store = ModelStore(Path(settings.directory) if settings.directory else None)
    if options.action == "compile":
        from edge.edgetpu_compile import compile_models

        return compile_models(store, settings.model, options.out)
    if options.action == "check-edgetpu":
        from edge.edgetpu_check import check_models, check_store

        return check_models(options.files) if options.files else check_store(store)
    from edge.modelcheck import list_models, verify_models

    return list_models(store) if options.action == "list" else verify_models(store)


def _watch(options: argparse.Namespace) -> int:
    from edge.watch import watch

    watch(_load(options).mqtt, duration_s=options.duration)
    return 0


def _homeassistant(options: argparse.Namespace) -> int:
    from edge import homeassistant

    settings = _load(options).mqtt
    homeassistant.remove(settings)
    print(f"{settings.device()} is no longer announced to Home Assistant.")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from edge.doctor import doctor

    return doctor(options.config, _overrides(options), as_json=options.json)


def _snapshot(options: argparse.Namespace) -> int:
    from edge.snapshot import snapshot

    return snapshot(_load(options), options.picture)


COMMANDS: dict[str, Command] = {
    "run": _run,
    "demo": _demo,
    "predict": _predict,
    "benchmark": _benchmark,
    "evaluate": _evaluate,
    "watch": _watch,
    "homeassistant": _homeassistant,
    "config": _config,
    "models": _models,
    "doctor": _doctor,
    "snapshot": _snapshot,
}
