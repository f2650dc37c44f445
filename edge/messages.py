"""The wire format: what is published, as types. JSON here; the binary form is in `packed`.

All coordinates are norm (see `pose`): x and z are divided by the frame's width, y by its height. World is in metres.
A message may gain fields within schema 1, so readers ignore fields that they do not know.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from edge import __version__
from edge.errors import MessageError
from edge.pose import KEYPOINT_NAMES, NUM_KEYPOINTS, SKELETON, Frame, Pose

SCHEMA: Literal[1] = 1

# Decimals on the wire. 4 of x and y are 0.2 px of a 1920 px frame, under a tenth of the model's own noise; z is three
# times as noisy, and visibility and presence are compared with thresholds. So one person is about 1.3 kB.
XY_DECIMALS = 4
Z_DECIMALS = 3
PROBABILITY_DECIMALS = 2
SCORE_DECIMALS = 3
WORLD_DECIMALS = 3

Fraction = Annotated[float, Meta(ge=0, le=1)]
Size = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Keypoint = Annotated[
    tuple[float, float, float, Fraction, Fraction],
    Meta(description="x, y, z (norm; z on the scale of x, less is nearer), visibility, presence"),
]
WorldPoint = Annotated[
    tuple[float, float, float],
    Meta(description="x right, y down, z away from the camera, in metres, origin between the hips"),
]
Exactly33 = Meta(min_length=NUM_KEYPOINTS, max_length=NUM_KEYPOINTS)


class PoseEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One person of a pose message.

    Attributes:
        id: stays the same while the person is followed.
        score: probability that this is a person.
        source: whether the detector found this person in this frame, or it was followed from the frame before.
        box: x, y, width, height, norm: round all 33 keypoints, cut off at the frame's edges.
        keypoints: the 33, in the order of `KEYPOINT_NAMES`; a joint outside the frame has x or y below 0 or above 1.
        world: the 33 in metres, if the device publishes them.
    """

    id: Count
    score: Fraction
    source: Literal["detected", "tracked"]
    box: Annotated[
        tuple[Fraction, Fraction, Fraction, Fraction], Meta(description="x, y, width, height; norm, inside the frame")
    ]
    keypoints: Annotated[list[Keypoint], Exactly33]
    world: Annotated[list[WorldPoint], Exactly33] | msgspec.UnsetType = msgspec.UNSET


class PoseMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Topic `pose`: everybody in one frame; an empty `poses` once when the last person leaves.

    Attributes:
        schema: 1.
        device: the device's name, as in the topic.
        seq: counts this device's pose messages from its start.
        time: capture time, seconds since 1970.
        latency_ms: from capture to the making of this message.
        width, height: px of the frame as published.
        poses: one entry a person.
    """

    schema: Literal[1]
    device: Annotated[str, Meta(min_length=1)]
    seq: Count
    time: float
    latency_ms: Annotated[float, Meta(ge=0)]
    width: Size
    height: Size
    poses: list[PoseEntry]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the device runs.

    Attributes:
        role: `detector` or `landmarks`.
        name: of the model.
        precision: its number format.
        device: `cpu`, or the accelerator that runs it.
        edgetpu_ops: how many of its operators the Edge TPU runs; null on the CPU.
        cpu_ops: how many the CPU runs although the device is an Edge TPU; null on the CPU.
        fallback: why the CPU runs it although another device was asked for; empty if nothing fell back.
    """

    role: str
    name: str
    precision: str
    device: str = "cpu"
    edgetpu_ops: int | None = None
    cpu_ops: int | None = None
    fallback: str = ""


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """Topic `info`: what a reader needs once.

    Attributes:
        schema: of the pose message.
        device: the device's name.
        version: of edge-pose.
        keypoint_names: the 33, in the order of `keypoints`.
        skeleton: pairs of indices into them, a line each.
        models: what runs.
        runtime: the TFLite runtime and its version.
        delegate: `cpu`, or the accelerator that runs the models.
        mqtt: protocol version of the connection over which this message came; empty before the first.
    """

    schema: Literal[1] = 1
    device: Annotated[str, Meta(min_length=1)]
    version: str = __version__
    keypoint_names: tuple[str, ...] = KEYPOINT_NAMES
    skeleton: tuple[tuple[int, int], ...] = SKELETON
    models: tuple[ModelInfo, ...] = ()
    runtime: str = ""
    delegate: str = ""
    mqtt: Literal["", "5", "3.1.1"] = ""


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds; null where nothing was measured yet."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Topic `health`: how the device is doing. Null is: not known on this host, or nothing measured yet.

    Attributes:
        schema: 1.
        time: seconds since 1970.
        uptime_s: of the process.
        fps: processed frames per second since the last health message.
        latency_ms: capture to message, over the same time, but of the last 1800 pose messages at most.
        without_detection: share of the processed frames in which the detector did not run.
        frames_dropped: frames that the source gave and nobody looked at, since the start.
        poses_dropped: pose messages that were made and not sent, since the start.
        reconnects: connections to the broker after the first, since the start.
        stalled: whether the camera gives no frames now.
        stalls: how often it gave none for a while, since the start.
        rss_mb: resident memory.
        temperature_c: of the processor.
        throttled: what holds the processor back now (`under-voltage`, `frequency capped`, `throttled`,
            `soft temperature limit`); empty is nothing.
        enabled, max_fps: as set by commands; max_fps 0 is no limit.
    """

    schema: Literal[1] = 1
    time: float
    uptime_s: float = 0.0
    fps: float = 0.0
    latency_ms: Percentiles = Percentiles()
    without_detection: Fraction | None = None
    frames_dropped: Count = 0
    poses_dropped: Count = 0
    reconnects: Count = 0
    stalled: bool = False
    stalls: Count = 0
    rss_mb: float | None = None
    temperature_c: float | None = None
    throttled: list[str] | None = None
    enabled: bool = True
    max_fps: Annotated[float, Meta(ge=0)] = 0.0


def pose_message(
    device: str, seq: int, frame: Frame, poses: Sequence[Pose], latency_ms: float, *, world: bool = False
) -> PoseMessage:
    """Convert poses from frame px to the wire format.

    Args:
        device: the device's name.
        seq: this message's number.
        frame: where the poses were found; its size is the unit of the coordinates.
        poses: everybody in it.
        latency_ms: capture to now.
        world: whether to add world coordinates, where a pose has them.

    Raises:
        MessageError: a coordinate is not a number; JSON cannot hold it.
    """
    return PoseMessage(
        schema=SCHEMA,
        device=device,
        seq=seq,
        time=round(frame.epoch_s, 3),
        latency_ms=round(max(latency_ms, 0.0), 1),
        width=frame.width_px,
        height=frame.height_px,
        poses=[pose_entry(pose, frame, world=world) for pose in poses],
    )


def pose_entry(pose: Pose, frame: Frame, *, world: bool) -> PoseEntry:
    """One person in the wire format: `pose`, found in `frame`, in norm; `world` adds world coordinates if it has them.

    Raises:
        MessageError: a coordinate or the score is not a finite number; JSON cannot hold it.
    """
    values = pose.keypoints_px.astype(np.float64)  # float32 would be written with 8 digits after rounding
    if not math.isfinite(values.sum() + pose.score):
        raise MessageError(f"pose {pose.id}: expected finite keypoints and score, given NaN or infinity")
    # Rounded as whole numbers of the last decimal and divided back, all columns at once.
    values *= _STEPS / (frame.width_px, frame.height_px, frame.width_px, 1, 1)
    np.rint(values, out=values)
    np.maximum(values, _LEAST, out=values)  # twice as fast as np.clip
    np.minimum(values, _MOST, out=values)
    values /= _STEPS
    values += 0.0  # makes -0.0 a plain 0.0: one character less on the wire
    keypoints = values.tolist()
    return PoseEntry(
        id=pose.id,
        score=round(min(max(float(pose.score), 0.0), 1.0), SCORE_DECIMALS),
        source=pose.source,
        box=_box(keypoints),
        keypoints=keypoints,
        world=_world(pose) if world and pose.world_m is not None else msgspec.UNSET,
    )


# Steps of the last decimal in one, and the least and greatest number of steps, of a keypoint's five values.
_STEPS = 10.0 ** np.array([XY_DECIMALS, XY_DECIMALS, Z_DECIMALS, PROBABILITY_DECIMALS, PROBABILITY_DECIMALS])
_LEAST = np.array([-np.inf, -np.inf, -np.inf, 0, 0])
_MOST = np.array([np.inf, np.inf, np.inf, 10**PROBABILITY_DECIMALS, 10**PROBABILITY_DECIMALS])


def _box(keypoints: list[Keypoint]) -> tuple[float, float, float, float]:
    """The box round the keypoints, cut off at the frame's edges; plain Python is the fastest for so few."""
    across, down = [point[0] for point in keypoints], [point[1] for point in keypoints]
    left, right, top, bottom = (min(max(edge, 0.0), 1.0) for edge in (min(across), max(across), min(down), max(down)))
    return left, top, round(right - left, XY_DECIMALS), round(bottom - top, XY_DECIMALS)


def _world(pose: Pose) -> list[WorldPoint]:
    assert pose.world_m is not None  # noqa: S101 -- the caller has looked; this tells the type checker
    if not np.isfinite(pose.world_m).all():
        raise MessageError(f"pose {pose.id}: expected finite world coordinates, given NaN or infinity")
    points: list[WorldPoint] = (np.round(pose.world_m.astype(np.float64), WORLD_DECIMALS) + 0.0).tolist()
    return points


_encoder = msgspec.json.Encoder()
Message = TypeVar("Message", PoseMessage, Info, Health)
_decoders: dict[type, Any] = {kind: msgspec.json.Decoder(kind) for kind in (PoseMessage, Info, Health)}


def encode(message: PoseMessage | Info | Health) -> bytes:
    """The JSON of a message, UTF-8, on one line."""
    return _encoder.encode(message)


def decode(payload: bytes, kind: type[Message]) -> Message:
    """Read a message of the given type.

    Raises:
        MessageError: the payload is not JSON, or not a message of schema 1; the text says what is wrong where.
    """
    try:
        message: Message = _decoders[kind].decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = payload[:60] + (b"..." if len(payload) > 60 else b"")
        raise MessageError(f"not a {kind.__name__} of schema {SCHEMA}: {error}; given {shown!r}") from None
    return message


def decode_pose(payload: bytes) -> PoseMessage:
    """Read the payload of topic `pose`; raises `MessageError` where it is none."""
    return decode(payload, PoseMessage)
