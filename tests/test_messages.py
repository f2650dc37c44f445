"""The wire format: conversion, size, schema, and what a reader does with garbage."""

import json
import math
import random
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from wire import sample_frame, sample_message, sample_pose

from edge.errors import MessageError
from edge.messages import Health, Info, PoseMessage, decode_pose, encode, pose_message
from edge.pose import KEYPOINT_NAMES, SKELETON
from edge.schema import FILES, schema_text

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA = msgspec.json.decode(schema_text(PoseMessage))


def test_pixels_become_fractions_of_the_frame() -> None:
    pose = sample_pose()
    entry = pose_message("kitchen", 5, sample_frame(), [pose], 12.34).poses[0]
    keypoints = np.array(entry.keypoints)
    assert keypoints.shape == (33, 5)
    assert np.allclose(keypoints[:, 0], pose.keypoints_px[:, 0] / 640, atol=0.51e-4)
    assert np.allclose(keypoints[:, 1], pose.keypoints_px[:, 1] / 480, atol=0.51e-4)
    assert np.allclose(keypoints[:, 2], pose.keypoints_px[:, 2] / 640, atol=0.51e-3)
    assert np.allclose(keypoints[:, 3:], pose.keypoints_px[:, 3:], atol=0.51e-2)


def test_the_box_is_cut_off_at_the_frames_edges() -> None:
    pose = sample_pose()
    left, top, width, height = pose_message("kitchen", 0, sample_frame(), [pose], 0).poses[0].box
    x, y = np.array(pose.keypoints_px[:, 0]) / 640, np.array(pose.keypoints_px[:, 1]) / 480
    assert (left, top) == (0.0, 0.0)  # the sample reaches outside on every side
    assert x.min() < 0
    assert y.max() > 1
    assert left + width == pytest.approx(1.0)
    assert top + height == pytest.approx(1.0)
    pose.keypoints_px[:, 0] = np.linspace(64, 320, 33)
    inside = pose_message("kitchen", 0, sample_frame(), [pose], 0).poses[0].box
    assert inside[0] == pytest.approx(0.1)
    assert inside[2] == pytest.approx(0.4)


def test_somebody_wholly_outside_has_an_empty_box() -> None:
    pose = sample_pose()
    pose.keypoints_px[:, 0] -= 2000
    box = pose_message("kitchen", 0, sample_frame(), [pose], 0).poses[0].box
    assert box[0] == 0
    assert box[2] == 0


def test_a_message_survives_the_wire() -> None:
    message = sample_message(seq=9, people=3, world=True)
    assert decode_pose(encode(message)).poses[2].id == 3
    assert encode(decode_pose(encode(message))) == encode(message)


def test_world_is_there_only_when_asked_for_and_known() -> None:
    assert b'"world"' not in encode(pose_message("k", 0, sample_frame(), [sample_pose(world=True)], 0))
    assert b'"world"' not in encode(pose_message("k", 0, sample_frame(), [sample_pose()], 0, world=True))
    message = sample_message(world=True)
    assert len(json.loads(encode(message))["poses"][0]["world"]) == 33


def test_one_person_fits_into_1500_bytes_wherever_the_joints_are() -> None:
    pose = sample_pose()
    pose.keypoints_px[:, :3] = -639.7  # the longest numbers: a minus sign and every decimal
    pose.keypoints_px[:, 3:] = 0.123
    payload = encode(pose_message("a-rather-long-name", 10**9, sample_frame(), [pose], 12345.67))
    assert len(payload) <= 1500, len(payload)
    assert len(encode(sample_message(device="a-rather-long-name"))) <= 1500


def test_messages_follow_the_published_schema_and_foreign_tools_agree() -> None:
    for message in (sample_message(people=0), sample_message(people=2), sample_message(world=True)):
        document = json.loads(encode(message))
        jsonschema.validate(document, SCHEMA)
        assert document["schema"] == 1
    broken = json.loads(encode(sample_message()))
    broken["poses"][0]["keypoints"].pop()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_schemas_in_docs_are_current(name: str) -> None:
    assert (DOCS / name).read_text() == schema_text(FILES[name]), "run: python -m edge.schema docs"


def test_info_and_health_follow_their_schemas() -> None:
    info = json.loads(encode(Info(device="kitchen", mqtt="5")))
    jsonschema.validate(info, msgspec.json.decode(schema_text(Info)))
    assert info["keypoint_names"] == list(KEYPOINT_NAMES)
    assert [tuple(pair) for pair in info["skeleton"]] == list(SKELETON)
    health = json.loads(encode(Health(time=1.0)))
    jsonschema.validate(health, msgspec.json.decode(schema_text(Health)))
    assert health["temperature_c"] is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused(value: float) -> None:
    pose = sample_pose()
    pose.keypoints_px[4, 1] = value
    with pytest.raises(MessageError, match="finite"):
        pose_message("kitchen", 0, sample_frame(), [pose], 0)
    with pytest.raises(MessageError, match="finite"):
        pose_message("kitchen", 0, sample_frame(), [replace(sample_pose(), score=value)], 0)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"schema":2}', "Invalid enum value 2"),
        (b"{}", "missing required field `schema`"),
        (b"\xff\xfe", "not a PoseMessage"),
        (b"[" * 100_000, "not a PoseMessage"),
        (encode(sample_message())[:-5], "truncated"),
        (encode(sample_message()).replace(b'"tracked"', b'"guessed"'), "guessed"),
        (encode(sample_message()).replace(b'"width":640', b'"width":0'), "width"),
    ],
)
def test_garbage_is_refused_with_a_reason(payload: bytes, expected: str) -> None:
    with pytest.raises(MessageError, match="PoseMessage of schema 1") as caught:
        decode_pose(payload)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 500


def test_fields_of_a_later_version_are_ignored() -> None:
    document = json.loads(encode(sample_message()))
    document["poses"][0]["mood"] = "good"
    document["later"] = [1, 2]
    assert decode_pose(json.dumps(document).encode()) == decode_pose(encode(sample_message()))


def test_ten_thousand_broken_payloads_never_crash_the_decoder() -> None:
    generator = random.Random(6)  # noqa: S311 -- the same inputs each time
    whole = encode(sample_message(people=2, world=True))
    refused = 0
    for _ in range(10_000):
        payload = bytearray(whole[: generator.randrange(len(whole))] if generator.random() < 0.3 else whole)
        for _ in range(generator.randrange(1, 6)):
            if payload:
                payload[generator.randrange(len(payload))] = generator.randrange(256)
        try:
            decode_pose(bytes(payload))
        except MessageError:
            refused += 1
    assert 5_000 < refused < 10_000  # some damage is to a digit, and cannot be noticed


def test_converting_and_encoding_is_quick() -> None:
    pose, frame = sample_pose(), sample_frame()
    best = math.inf
    for _ in range(30):
        started = time.perf_counter()
        encode(pose_message("kitchen", 0, frame, [pose], 1.0))
        best = min(best, time.perf_counter() - started)
    assert best < 2e-3, best  # about 0.1 ms; the bound is for a busy machine
