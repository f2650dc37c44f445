"""Load settings and let each stage judge its own: what `config check` and every command do first."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge import broker, camera, config_load
from edge.config import ModelSettings, Settings
from edge.config_load import COMMAND_LINE, Loaded
from edge.errors import ConfigError, UsageError
from edge.manifest import ModelStore
from edge.runtime import RUNTIMES, check_precision, load_runtime


def load(config_file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Loaded:
    """The settings in force, checked as far as it can be done without touching a camera or the network.

    Raises:
        ConfigError: a file, an unknown key, a value that its stage cannot use; says where it came from.
        UsageError: the same, where the value came from the command line.
    """
    loaded = config_load.load(config_file, overrides)
    judges: dict[str, Callable[[], object]] = {
        "mqtt.broker": lambda: broker.parse(loaded.settings.mqtt.broker),
        "camera.source": lambda: camera.check_form(loaded.settings.camera.source),
        "model.precision": lambda: check_precision(loaded.settings.model),
    }
    for setting, judge in judges.items():
        try:
            judge()
        except ConfigError as error:
            origin = loaded.origins[setting]
            kind = UsageError if origin == COMMAND_LINE else ConfigError
            raise kind(f"{origin}: {error}") from None
    return loaded


def check_files(settings: Settings) -> None:
    """Look at what the settings name and `run` would stumble over: certificates, the password, models, a runtime.

    Raises:
        ConfigError: one is missing or cannot be used.
        ModelError: the folder of models has no manifest, or the landmark model no file.
        MissingDependencyError: no runtime is installed.
    """
    broker.check(settings.mqtt)
    camera.check_files(settings.camera)
    _check_runtime(settings.model.runtime)
    _check_models(settings.model)


def _check_runtime(choice: str) -> None:
    names = RUNTIMES if choice == "auto" else [choice]
    # To import one takes a while; to look for it does not.
    if not any(importlib.util.find_spec(RUNTIMES[name].partition(".")[0]) for name in names):
        load_runtime(choice)  # says what is missing


def _check_models(wanted: ModelSettings) -> None:
    store = ModelStore(Path(wanted.directory) if wanted.directory else None)
    own = [one for one in store.manifest.models if (one.role, one.variant) == ("landmarks", wanted.model)]
    if not any(store.path(entry).exists() for entry in own):
        store.read(own[0] if own else store.find("landmarks", wanted.model, wanted.precision))  # says what is missing
