"""Settings of every stage: typed, with range and unit, the default written once, unknown keys refused.

Later wins: defaults, the configuration file, `EDGE_POSE_<SECTION>_<KEY>` environment variables, the command line.
"""

import difflib
import os
import re
import socket
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edge.errors import ConfigError, UsageError

SYSTEM_CONFIG = Path("/etc/edge-pose/config.toml")
ENVIRONMENT_PREFIX = "EDGE_POSE_"
COMMAND_LINE = "command line"
DEFAULT = "default"

# A topic level: `/`, `+` and `#` have a meaning in MQTT topics, and control characters are not allowed in them.
TOPIC_LEVEL = r"^[^/+#\x00-\x1f\x7f]+$"
TOPIC_PATH = r"^[^/+#\x00-\x1f\x7f]+(/[^/+#\x00-\x1f\x7f]+)*$"


def _doc(text: str, **limits: Any) -> msgspec.Meta:  # noqa: ANN401 -- msgspec's own limits: ge, le, pattern...
    return msgspec.Meta(description=text, **limits)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections below."""


class CameraSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[camera]: where frames come from."""

    source: Annotated[str, _doc("picamera2[:N], /dev/videoN or N, rtsp://, http(s)://, a file, a folder, sample")] = (
        "picamera2"
    )
    width: Annotated[int, _doc("px, asked of a live camera", ge=64, le=10_000)] = 640
    height: Annotated[int, _doc("px, asked of a live camera", ge=64, le=10_000)] = 480
    fps: Annotated[float, _doc("frames per second, asked of a live camera", gt=0, le=1000)] = 30.0
    rotate: Annotated[Literal[0, 90, 180, 270], _doc("degrees clockwise by which the picture is turned")] = 0
    mirror: Annotated[bool, _doc("swap left and right, after turning")] = False
    realtime: Annotated[bool, _doc("a video file is paced like a camera")] = False
    loop: Annotated[bool, _doc("a file or folder starts again at its end")] = False
    rtsp_transport: Annotated[
        Literal["tcp", "udp"], _doc("how RTSP pictures travel: tcp loses none, udp is sooner on a clean network")
    ] = "tcp"
    pixel_format: Annotated[
        Literal["auto", "MJPG", "YUYV"], _doc("asked of a USB camera; MJPG fits more frames through USB")
    ] = "auto"
    open_timeout: Annotated[float, _doc("seconds until a camera or stream must give its first frame", ge=1, le=120)] = (
        10.0
    )
    stall_timeout: Annotated[
        float, _doc("seconds without a frame after which a source is reported stalled and opened again", ge=0.5, le=600)
    ] = 5.0
    hflip: Annotated[bool, _doc("picamera2: the sensor swaps left and right, before turning")] = False
    vflip: Annotated[bool, _doc("picamera2: the sensor swaps top and bottom, before turning")] = False
    exposure_us: Annotated[int, _doc("picamera2: exposure time in microseconds; 0 is automatic", ge=0)] = 0
    gain: Annotated[float, _doc("picamera2: analogue gain; 0 is automatic", ge=0, le=64)] = 0.0
    white_balance: Annotated[
        Literal["auto", "incandescent", "tungsten", "fluorescent", "indoor", "daylight", "cloudy"],
        _doc("picamera2: automatic, or for one kind of light"),
    ] = "auto"
    autofocus: Annotated[
        Literal["continuous", "off"], _doc("picamera2, where the lens can be moved: off holds it at lens_position")
    ] = "continuous"
    lens_position: Annotated[
        float, _doc("picamera2, without autofocus: 1 / distance in metres; 0 is far away", ge=0, le=32)
    ] = 0.0
    tuning_file: Annotated[str, _doc("picamera2: libcamera tuning file of the sensor; empty is its own")] = ""


class ModelSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[model]: which models, and what runs them."""

    model: Annotated[Literal["lite", "full", "heavy"], _doc("landmark model: lite is fastest, heavy most exact")] = (
        "lite"
    )
    precision: Annotated[
        Literal["auto", "int8", "int8-full", "float16"],
        _doc(
            "number format of the models; auto is the one measured best for the runtime, int8-full is for the Edge TPU"
        ),
    ] = "auto"
    directory: Annotated[str, _doc("a folder of models with a manifest.toml; empty is the bundled one")] = ""
    device: Annotated[str, _doc("cpu, or edgetpu[:usb|:pci][:N]", pattern=r"^(cpu|edgetpu(:(usb|pci))?(:\d+)?)$")] = (
        "cpu"
    )
    detector_device: Annotated[
        str,
        _doc("what runs the detector; empty is as device", pattern=r"^(|cpu|edgetpu(:(usb|pci))?(:\d+)?)$"),
    ] = ""
    fallback: Annotated[
        Literal["none", "cpu"],
        _doc("where an Edge TPU cannot be used: none is an error, cpu goes on with the CPU, and says so"),
    ] = "none"
    edgetpu_library: Annotated[str, _doc("path of libedgetpu.so.1; empty is where the system has it")] = ""
    threads: Annotated[int, _doc("CPU threads of a model", ge=1, le=16)] = 2
    runtime: Annotated[
        Literal["auto", "ai-edge-litert", "tflite-runtime"],
        _doc("TFLite runtime; auto takes ai-edge-litert where it is installed"),
    ] = "auto"


class DetectorSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[detector]: finding a person anew."""

    min_score: Annotated[float, _doc("a detection below this score is no person, 0 to 1", ge=0, le=1)] = 0.5


class TrackerSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[tracker]: following people from frame to frame."""

    max_people: Annotated[int, _doc("people followed at once", ge=1, le=5)] = 1
    idle_fps: Annotated[
        float, _doc("looks for people per second while nobody is held and nothing moves; 0 is every frame", ge=0)
    ] = 5.0
    search_interval: Annotated[
        float, _doc("seconds between looks for more people while fewer than max_people are held", ge=0)
    ] = 0.5
    min_presence: Annotated[float, _doc("below this pose presence a person is lost, 0 to 1", ge=0, le=1)] = 0.5


class SmoothingSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[smoothing]: the One Euro filter on keypoints."""

    mode: Annotated[Literal["normal", "off"], _doc("off publishes what the model says of each frame by itself")] = (
        "normal"
    )


class PipelineSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipeline]: the loop."""

    max_fps: Annotated[float, _doc("processed frames per second at most; 0 is no limit", ge=0, le=1000)] = 0.0
    world: Annotated[bool, _doc("publish world coordinates in metres too")] = False


class MqttSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[mqtt]: where keypoints go."""

    broker: Annotated[str, _doc("mqtt://HOST[:PORT], or mqtts:// with TLS")] = "mqtt://127.0.0.1:1883"
    device_name: Annotated[str, _doc("this device's topic level; empty is the host's name")] = ""
    base: Annotated[str, _doc("topics start with this: levels joined by /, without + or #", pattern=TOPIC_PATH)] = (
        "edge-pose"
    )
    username: Annotated[str, _doc("empty is none")] = ""
    password_file: Annotated[
        str, _doc("a file that holds the password and nothing else; empty: systemd's credential mqtt-password, if any")
    ] = ""
    ca_file: Annotated[str, _doc("PEM file of the authority that signed the broker's certificate; empty: system's")] = (
        ""
    )
    cert_file: Annotated[str, _doc("PEM file of this device's own certificate, for brokers that ask; empty: none")] = ""
    key_file: Annotated[str, _doc("PEM file of the key of cert_file; empty: the key is in cert_file")] = ""
    protocol: Annotated[
        Literal["auto", "5", "3.1.1"], _doc("MQTT version; auto tries 5 and falls back to 3.1.1 where 5 is refused")
    ] = "auto"
    keepalive: Annotated[int, _doc("seconds; a dead network is noticed in one to two times that", ge=1, le=600)] = 5
    packed: Annotated[bool, _doc("also publish each pose message in binary form, on pose/packed")] = False
    presence_on: Annotated[float, _doc("seconds that somebody must be in view before presence is ON", ge=0, le=60)] = (
        0.5
    )
    presence_off: Annotated[float, _doc("seconds that nobody must be in view before presence is OFF", ge=0)] = 3.0
    health_interval: Annotated[float, _doc("seconds between health messages", ge=1, le=3600)] = 30.0
    homeassistant: Annotated[bool, _doc("announce this device to Home Assistant (MQTT discovery)")] = False
    homeassistant_prefix: Annotated[str, _doc("Home Assistant's discovery prefix", pattern=TOPIC_PATH)] = (
        "homeassistant"
    )

    def device(self) -> str:
        """The device's name: as set, or the host's."""
        return self.device_name or socket.gethostname()


class Settings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings in force."""

    camera: CameraSettings = CameraSettings()
    model: ModelSettings = ModelSettings()
    detector: DetectorSettings = DetectorSettings()
    tracker: TrackerSettings = TrackerSettings()
    smoothing: SmoothingSettings = SmoothingSettings()
    pipeline: PipelineSettings = PipelineSettings()
    mqtt: MqttSettings = MqttSettings()


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
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file. Give an existing one with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the configuration file cannot be read: {error}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    values = []
    for section, content in document.items():
        _known(section, Settings.__struct_fields__, f"{path}: unknown section [{section}]", ConfigError)
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: {section} = {content!r}: expected a section [{section}] with keys below it")
        values += [Value(section, key, value, str(path)) for key, value in content.items()]
    return values


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
        raise error(f"{given.origin}: {given.name} = {given.value!r}: {_expectation(annotation, str(cause))}") from None


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
    if not re.match(TOPIC_LEVEL, name):
        origin = origins["mqtt.device_name"]
        error = UsageError if origin == COMMAND_LINE else ConfigError
        raise error(
            f"{origin}: mqtt.device_name = {name!r}: a device name is one level of an MQTT topic and may not hold "
            "/, +, # or control characters, nor be empty"
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
        value = msgspec.json.encode(plain[section][key]).decode()  # JSON's scalars are TOML's too
        lines += [f"# {meaning}", f"{key} = {value}  # {loaded.origins[f'{section}.{key}']}"]
    return "\n".join(lines) + "\n"
