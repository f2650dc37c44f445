"""The binary form: the same numbers as the JSON, small, and safe to read from a stranger."""

import random
import struct

import msgspec
import pytest
from wire import sample_frame, sample_message, sample_pose

from edge.errors import MessageError
from edge.messages import encode, pose_message
from edge.packed import pack, unpack


@pytest.mark.parametrize("people", [0, 1, 5])
@pytest.mark.parametrize("world", [False, True])
def test_packing_loses_nothing(people: int, world: bool) -> None:
    message = sample_message(seq=12345, people=people, world=world)
    assert encode(unpack(pack(message), "kitchen")) == encode(message)


def test_one_person_is_small() -> None:
    assert len(pack(sample_message())) == 304
    assert len(pack(sample_message(people=2))) - len(pack(sample_message())) == 280
    assert len(pack(sample_message(world=True))) == 502
    assert len(pack(sample_message(people=0))) == 24


def test_the_bytes_are_where_the_documentation_says() -> None:
    message = sample_message(seq=7)
    payload = pack(message)
    entry = message.poses[0]
    assert payload[:4] == b"EP\x01\x01"
    assert struct.unpack_from("<I", payload, 4)[0] == 7
    assert struct.unpack_from("<Q", payload, 8)[0] == 1_700_000_000_123
    assert struct.unpack_from("<I", payload, 16)[0] == 413
    assert struct.unpack_from("<HH", payload, 20) == (640, 480)
    assert struct.unpack_from("<I", payload, 24)[0] == 1
    assert struct.unpack_from("<H", payload, 28)[0] == round(entry.score * 1000)
    assert payload[30] == 1
    assert struct.unpack_from("<hhh", payload, 40) == tuple(
        round(value * scale) for value, scale in zip(entry.keypoints[0][:3], (10_000, 10_000, 1_000), strict=True)
    )
    assert payload[46] == round(entry.keypoints[0][3] * 100)


def test_what_does_not_fit_is_cut_off() -> None:
    pose = sample_pose()
    pose.keypoints_px[0, :2] = (640 * 50, -480 * 50)
    x, y, *_ = unpack(pack(pose_message("k", 0, sample_frame(), [pose], 1)), "k").poses[0].keypoints[0]
    assert (x, y) == (3.2767, -3.2768)
    message = msgspec.structs.replace(sample_message(), seq=2**32 + 5, time=-1.0)
    assert (unpack(pack(message), "k").seq, unpack(pack(message), "k").time) == (5, 0.0)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "0 bytes"),
        (b"XX" + bytes(22), "expected b'EP"),
        (b"EP\x02" + bytes(21), "schema 1"),
        (pack(sample_message())[:-1], "ends in person 0"),
        (pack(sample_message(world=True))[:-1], "world points of person 0"),
        (pack(sample_message()) + b"x", "305 bytes: expected 304"),
        (pack(sample_message(people=0))[:20] + bytes(4), "width"),
    ],
)
def test_garbage_is_refused_with_a_reason(payload: bytes, expected: str) -> None:
    with pytest.raises(MessageError, match="packed pose") as caught:
        unpack(payload, "kitchen")
    assert expected in str(caught.value)


def test_ten_thousand_broken_payloads_never_crash_the_decoder() -> None:
    generator = random.Random(8)  # noqa: S311 -- the same inputs each time
    whole = pack(sample_message(people=2, world=True))
    read = 0
    for _ in range(10_000):
        payload = bytearray(whole[: generator.randrange(len(whole))] if generator.random() < 0.3 else whole)
        for _ in range(generator.randrange(1, 6)):
            if payload:
                payload[generator.randrange(min(len(payload), 60))] = generator.randrange(256)
        try:
            read += unpack(bytes(payload), "kitchen").schema
        except MessageError:
            continue
    assert 500 < read < 9_000
