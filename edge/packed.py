"""Pose messages in binary: a quarter of the JSON's size, the same numbers. docs/mqtt.md has the table of the bytes.

All numbers are little-endian. Coordinates are the JSON's decimals as whole numbers, so `unpack(pack(message))` is the
message again; what does not fit is cut off at the type's limits (3.27 frames away, 32 m).
"""

import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import MessageError
from edge.messages import SCHEMA, PoseEntry, PoseMessage
from edge.pose import NUM_KEYPOINTS

MAGIC = b"EP"
XY_SCALE, Z_SCALE, PROBABILITY_SCALE, SCORE_SCALE, WORLD_SCALE = 10_000, 1_000, 100, 1_000, 1_000
SOURCES = ("detected", "tracked")
HAS_WORLD = 1

# magic, schema, people, seq, time in ms, latency in 0.1 ms, width, height
_HEADER = struct.Struct("<2sBBIQIHH")
# id, score, source, flags, box
_PERSON = struct.Struct("<IHBB4h")
_KEYPOINT = np.dtype([("xyz", "<i2", 3), ("probabilities", "u1", 2)])
_KEYPOINTS_SIZE = NUM_KEYPOINTS * _KEYPOINT.itemsize
_WORLD_SIZE = NUM_KEYPOINTS * 3 * 2


def pack(message: PoseMessage) -> bytes:
    """The binary form of a pose message. The device's name is not in it: the topic has it."""
    header = _HEADER.pack(
        MAGIC,
        SCHEMA,
        min(len(message.poses), 255),
        message.seq & 0xFFFFFFFF,
        max(round(message.time * 1000), 0),
        min(round(message.latency_ms * 10), 0xFFFFFFFF),
        min(message.width, 0xFFFF),
        min(message.height, 0xFFFF),
    )
    return b"".join([header, *(_pack_person(entry) for entry in message.poses[:255])])


def _pack_person(entry: PoseEntry) -> bytes:
    known_world = entry.world is not msgspec.UNSET
    person = _PERSON.pack(
        entry.id & 0xFFFFFFFF,
        round(entry.score * SCORE_SCALE),
        SOURCES.index(entry.source),
        HAS_WORLD if known_world else 0,
        *(round(value * XY_SCALE) for value in entry.box),
    )
    values = np.array(entry.keypoints, np.float64)
    keypoints = np.empty(NUM_KEYPOINTS, _KEYPOINT)
    keypoints["xyz"] = _int16(values[:, :3] * np.array([XY_SCALE, XY_SCALE, Z_SCALE], np.float64))
    keypoints["probabilities"] = np.rint(values[:, 3:] * PROBABILITY_SCALE)
    world = _int16(np.array(entry.world, np.float64) * WORLD_SCALE).tobytes() if known_world else b""
    return person + keypoints.tobytes() + world


def _int16(values: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.rint(values).clip(-32768, 32767).astype("<i2")


def unpack(payload: bytes, device: str) -> PoseMessage:
    """Read the binary form; `device` is the name in the topic.

    Raises:
        MessageError: not the binary form of schema 1, cut off, or with values that cannot be.
    """
    if len(payload) < _HEADER.size:
        raise MessageError(f"packed pose of {len(payload)} bytes: expected at least {_HEADER.size}")
    magic, schema, people, seq, time_ms, latency, width, height = _HEADER.unpack_from(payload)
    if magic != MAGIC or schema != SCHEMA:
        raise MessageError(f"packed pose starts with {payload[:3]!r}: expected {MAGIC + bytes([SCHEMA])!r}, schema 1")
    offset = _HEADER.size
    poses: list[dict[str, Any]] = []
    for number in range(people):
        entry, offset = _unpack_person(payload, offset, number)
        poses.append(entry)
    if offset != len(payload):
        raise MessageError(f"packed pose of {len(payload)} bytes: expected {offset} for {people} people")
    message = {"schema": schema, "device": device, "seq": seq, "time": time_ms / 1000, "latency_ms": latency / 10}
    try:
        return msgspec.convert({**message, "width": width, "height": height, "poses": poses}, PoseMessage)
    except msgspec.ValidationError as error:
        raise MessageError(f"packed pose: {error}") from None


def _unpack_person(payload: bytes, offset: int, number: int) -> tuple[dict[str, Any], int]:
    end = offset + _PERSON.size + _KEYPOINTS_SIZE
    if end > len(payload):
        raise MessageError(f"packed pose of {len(payload)} bytes ends in person {number}: expected {end} or more")
    person_id, score, source, flags, *box = _PERSON.unpack_from(payload, offset)
    if source >= len(SOURCES) or flags & ~HAS_WORLD:
        raise MessageError(f"packed pose: person {number} has source {source} and flags {flags}: unknown")
    keypoints = np.frombuffer(payload, _KEYPOINT, NUM_KEYPOINTS, offset + _PERSON.size)
    xyz = keypoints["xyz"] / (XY_SCALE, XY_SCALE, Z_SCALE)
    entry: dict[str, Any] = {
        "id": person_id,
        "score": score / SCORE_SCALE,
        "source": SOURCES[source],
        "box": [value / XY_SCALE for value in box],
        "keypoints": np.hstack([xyz, keypoints["probabilities"] / PROBABILITY_SCALE]).tolist(),
    }
    if flags & HAS_WORLD:
        if end + _WORLD_SIZE > len(payload):
            raise MessageError(f"packed pose of {len(payload)} bytes ends in the world points of person {number}")
        world = np.frombuffer(payload, "<i2", NUM_KEYPOINTS * 3, end).reshape(NUM_KEYPOINTS, 3)
        entry["world"] = (world / WORLD_SCALE).tolist()
        end += _WORLD_SIZE
    return entry, end
