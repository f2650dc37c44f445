"""Settings of every stage: typed, with range and unit, the default written once. `config_load` fills them."""

import socket
from typing import Annotated, Any, Literal

import msgspec

# A topic level: `/`, `+` and `#` have a meaning in MQTT topics. Control characters, halves of characters and code
# points that are none (MQTT 5, section 1.5.4) make brokers end the connection.
_LETTER = "[^/+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
TOPIC_LEVEL = rf"^{_LETTER}]+\Z"
# Topics that begin with $ are the broker's own ($SYS, $share).
TOPIC_PATH = rf"^(?!\$){_LETTER}]+(/{_LETTER}]+)*\Z"
# MQTT's strings hold 65,535 bytes, mosquitto's topics 200 levels: with these, topics stay far below.
LONGEST_LEVEL = 128
LONGEST_PATH = 256
LONGEST_USERNAME = 10_000


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
    open_timeout: Annotated[float, _doc("seconds until a camera or stream must give its first frame", ge=1, le=20)] = (
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
    """[detector]: finding a person anew, where tracker.acquisition is single."""

    min_score: Annotated[
        float, _doc("with acquisition single: a detection below this score is no person, 0 to 1", ge=0, le=1)
    ] = 0.5


class TrackerSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[tracker]: following people from frame to frame."""

    max_people: Annotated[int, _doc("people followed at once; of more, the nearest", ge=1, le=5)] = 1
    acquisition: Annotated[
        Literal["verified", "single"],
        _doc(
            "verified: several detections at a low score, each looked at twice and judged; single: the detector's best "
            "is looked at once and believed, as MediaPipe does it"
        ),
    ] = "verified"
    candidates: Annotated[int, _doc("detections looked at when one more person is wanted", ge=1, le=10)] = 4
    candidate_score: Annotated[float, _doc("a detection below this score is not looked at, 0 to 1", ge=0, le=1)] = 0.05
    min_score: Annotated[
        float, _doc("nobody is published before the probability of a person has reached this, 0 to 1", ge=0, le=1)
    ] = 0.65
    verify_interval: Annotated[
        float, _doc("seconds between looks of the detector at people who are followed; 0 is never", ge=0)
    ] = 5.0
    idle_fps: Annotated[
        float, _doc("looks for people per second while nobody is held and nothing moves; 0 is every frame", ge=0)
    ] = 5.0
    search_interval: Annotated[
        float, _doc("seconds between looks for more people while fewer than max_people are held", ge=0)
    ] = 0.5
    min_presence: Annotated[
        float,
        _doc(
            "below this pose presence, 0 to 1, nobody is found, and with acquisition single a person is lost",
            ge=0,
            le=1,
        ),
    ] = 0.5


class SmoothingSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[smoothing]: the One Euro filter on keypoints."""

    mode: Annotated[
        Literal["off", "normal", "strong"],
        _doc(
            "off publishes what the model says of each frame by itself; normal is MediaPipe's; strong trembles less, "
            "follows later"
        ),
    ] = "normal"
    min_cutoff: Annotated[float, _doc("Hz, of a joint at rest: lower is smoother; 0 is the mode's own", ge=0)] = 0.0
    beta: Annotated[
        float,
        _doc("Hz that the cutoff rises per body size a second: higher follows sooner; 0 is the mode's own", ge=0),
    ] = 0.0
    derivative_cutoff: Annotated[float, _doc("Hz, of the measured speed", gt=0)] = 1.0


class PipelineSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipeline]: the loop."""

    max_fps: Annotated[float, _doc("processed frames per second at most; 0 is no limit", ge=0, le=1000)] = 0.0
    world: Annotated[bool, _doc("publish world coordinates in metres too")] = False


class MqttSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[mqtt]: where keypoints go."""

    broker: Annotated[str, _doc("mqtt://HOST[:PORT], or mqtts:// with TLS")] = "mqtt://127.0.0.1:1883"
    device_name: Annotated[
        str, _doc(f"this device's topic level, {LONGEST_LEVEL} characters at most; empty is the host's name")
    ] = ""
    base: Annotated[
        str,
        _doc(
            f"topics start with this: levels joined by /, no + or #, no $ first, {LONGEST_PATH} characters at most",
            pattern=TOPIC_PATH,
            max_length=LONGEST_PATH,
        ),
    ] = "edge-pose"
    username: Annotated[str, _doc("empty is none", max_length=LONGEST_USERNAME)] = ""
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
    health_interval: Annotated[
        float, _doc("seconds between health messages; latency is of the last 1800 pose messages at most", ge=1, le=3600)
    ] = 30.0
    homeassistant: Annotated[bool, _doc("announce this device to Home Assistant (MQTT discovery)")] = False
    homeassistant_prefix: Annotated[
        str, _doc("Home Assistant's discovery prefix", pattern=TOPIC_PATH, max_length=LONGEST_PATH)
    ] = "homeassistant"

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
