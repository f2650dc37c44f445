"""Load settings from all their sources; unknown keys are refused, and each value remembers where it came from.

Later wins: defaults, the configuration file, `EDGE_POSE_<SECTION>_<KEY>` environment variables, the command line.
"""

import os
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.config import LONGEST_LEVEL, TOPIC_LEVEL, Section, Settings
from edge.config_file import read_file
from edge.errors import ConfigError, UsageError
from edge.streams import as_utf8

SYSTEM_CONFIG = Path("/etc/edge-pose/config.toml")
ENVIRONMENT_PREFIX = "EDGE_POSE_"
COMMAND_LINE = "command line"
DEFAULT = "default"
LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Value:
    """One setting as somebody gave it: `origin` is a file's path, an environment variable or the command line."""

    section: str
    key: str
    value: Any
    origin: str

    @property
    def name(self) -> str:
        """`section.key`, as users write it."""
        return f"{self.section}.{self.key}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each `section.key` where it came from."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Merge all sources of settings.

    Args:
        config_file: the file to read; None reads `/etc/edge-pose/config.toml` if it exists.
        overrides: `{"section.key": value}` from the command line; None values are left out.
        environment: variables to look at; None is the process's own.

    Raises:
        ConfigError: a file, an unknown key, a wrong type or a value out of range.
        UsageError: the same, where the value came from the command line.
    """
    values = _from_file(config_file)
    values += _from_environment(os.environ if environment is None else environment)
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        if value is not None:
            values.append(Value(section, key, value, COMMAND_LINE))
    sections: dict[str, dict[str, Any]] = {name: {} for name in Settings.__struct_fields__}
    origins = {f"{section}.{key}": DEFAULT for section in sections for key in _section_type(section).__struct_fields__}
    for given in values:
        sections[given.section][given.key] = _checked(given)
        origins[given.name] = given.origin
    settings = msgspec.convert(sections, Settings)
    _check_names(settings, origins)
    return Loaded(settings, origins)


def describe() -> list[tuple[str, str, str, Any]]:
    """Every setting: section, key, description, default."""
    return [
        (section, field.name, _description(typing.get_type_hints(kind, include_extras=True)[field.name]), field.default)
        for section in Settings.__struct_fields__
        for kind in [_section_type(section)]
        for field in msgspec.structs.fields(kind)
    ]


def _section_type(section: str) -> type[Section]:
    found: type[Section] = typing.get_type_hints(Settings)[section]
    return found


def _description(annotation: Any) -> str:  # noqa: ANN401 -- a type annotation is any object
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, msgspec.Meta) and extra.description:
            return extra.description
    return ""


def _from_file(config_file: Path | None) -> list[Value]:
    path = config_file or SYSTEM_CONFIG
    if config_file is None and not path.exists():
        return []
    try:
        text = read_file(path).decode("utf-8-sig")  # some editors put a mark before the first line
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file. Give an existing one with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the configuration file cannot be read: {error}") from None
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    values = []
    for section, content in document.items():
        _refuse_without_section(path, section)
        _known(section, Settings.__struct_fields__, f"{path}: unknown section [{section}]", ConfigError)
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: {section} = {content!r}: expected a section [{section}] with keys below it")
        values += [Value(section, key, value, str(path)) for key, value in content.items()]
    return values


def _refuse_without_section(path: Path, key: str) -> None:
    """A setting that stands before the first section is a common slip, and its section is known."""
    own = [f"[{section}]" for section in Settings.__struct_fields__ if key in _section_type(section).__struct_fields__]
    if own and key not in Settings.__struct_fields__:
        raise ConfigError(f"{path}: {key} stands outside of a section; put it below {' or '.join(own)}")


def _from_environment(environment: Mapping[str, str]) -> list[Value]:
    names = {
        f"{ENVIRONMENT_PREFIX}{section}_{key}".upper(): (section, key)
        for section in Settings.__struct_fields__
        for key in _section_type(section).__struct_fields__
    }
    values = []
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            _known(variable, names, f"unknown environment variable {variable}", ConfigError)
            values.append(Value(*names[variable], text, variable))
    return values


def _known(word: str, known: typing.Iterable[str], complaint: str, error: type[ConfigError | UsageError]) -> None:
    choices = list(known)
    if word in choices:
        return
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(choices)}"
    raise error(f"{complaint}; {hint}")


def _checked(given: Value) -> Any:  # noqa: ANN401 -- the type is the setting's own
    error = UsageError if given.origin == COMMAND_LINE else ConfigError
    section = _section_type(given.section)
    _known(given.key, section.__struct_fields__, f"{given.origin}: unknown setting {given.name}", error)
    annotation = typing.get_type_hints(section, include_extras=True)[given.key]
    value = given.value
    lax = given.origin.startswith(ENVIRONMENT_PREFIX)  # a variable is always text
    if lax and value.isdecimal() and typing.get_origin(_plain(annotation)) is Literal:
        value = int(value)
    try:
        return msgspec.convert(value, annotation, strict=not lax)
    except msgspec.ValidationError as cause:
        raise error(
            f"{given.origin}: {given.name} = {_shown(given.value)}: {_expectation(annotation, str(cause))}"
        ) from None


def _shown(value: Any) -> str:  # noqa: ANN401 -- whatever was given
    """What was given, without filling the screen with it."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _plain(annotation: Any) -> Any:  # noqa: ANN401 -- a type annotation is any object
    return typing.get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _expectation(annotation: Any, cause: str) -> str:  # noqa: ANN401 -- a type annotation is any object
    plain = _plain(annotation)
    if typing.get_origin(plain) is Literal:
        return "expected one of " + ", ".join(str(choice) for choice in typing.get_args(plain))
    meaning = _description(annotation)
    if "regex" in cause:
        return f"not of the expected form ({meaning})"
    sentence = re.sub(r" - at `\$.*", "", cause)
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(plain, "")
    return f"{sentence[:1].lower()}{sentence[1:]}" + (f" ({kind}: {meaning})" if kind and meaning else "")


def _check_names(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse a device name that would break out of its topic level, also where it came from the host's name."""
    name = settings.mqtt.device()
    if not re.match(TOPIC_LEVEL, name) or len(name) > LONGEST_LEVEL:
        origin = origins["mqtt.device_name"]
        error = UsageError if origin == COMMAND_LINE else ConfigError
        raise error(
            f"{origin}: mqtt.device_name = {_shown(name)}: a device name is one level of an MQTT topic and may not "
            f"hold /, +, # or control characters, nor be empty or longer than {LONGEST_LEVEL} characters"
        )


def as_toml(loaded: Loaded) -> str:
    """The settings in force as a TOML document; each line says what it means and, behind it, where it came from."""
    lines = []
    plain = msgspec.to_builtins(loaded.settings)
    section_before = ""
    for section, key, meaning, _ in describe():
        if section != section_before:
            lines += [f"\n[{section}]" if section_before else f"[{section}]"]
            section_before = section
        value = plain[section][key]
        value = as_utf8(value) if isinstance(value, str) else value
        value = msgspec.json.encode(value).decode()  # JSON's scalars are TOML's too
        lines += [f"# {meaning}", f"{key} = {value}  # {loaded.origins[f'{section}.{key}']}"]
    return "\n".join(lines) + "\n"
