"""Standard output and error that are full, closed, left by their reader or unable to hold a name."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from brokers import Mosquitto, needs_mosquitto
from conftest import read_clip
from shell import in_bash, said_by
from wire import listen

from edge.streams import as_utf8

NOBODY = "mqtt://127.0.0.1:1"
FULL = "edge-pose: standard output cannot be written: No space left on device"
CLOSED = "edge-pose: standard output cannot be written: it is closed"


PRINTING = ["config show", "models list", "--help", "predict --help", f"watch --broker {NOBODY} --duration 600"]


@pytest.mark.parametrize(("to", "said"), [("/dev/full", FULL), ("&-", CLOSED)])
@pytest.mark.parametrize("command", PRINTING)
def test_an_output_that_cannot_be_written_is_said_and_is_a_failure(command, to, said):
    done = in_bash(f"edge-pose {command} >{to}")
    assert done.returncode == 1, done.stderr
    assert said_by(done) == [said]
    assert in_bash(f"edge-pose {command} >{to} 2>&-").returncode == 1
    assert in_bash(f"edge-pose {command} <&- >{to} 2>/dev/full").returncode == 1


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_who_goes_has_read_enough(command):
    done = in_bash(f"edge-pose {command} | head -1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "edge-pose: standard" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_command_line_stays_one_whatever_the_output():
    assert in_bash("edge-pose jump >/dev/full").returncode == 2
    assert in_bash("edge-pose jump >&- 2>&-").returncode == 2
    assert in_bash("edge-pose config show --config /nowhere.toml >&-").returncode == 78


@pytest.mark.parametrize("to", ["&-", "/dev/full"])
def test_without_standard_error_nothing_is_lost_and_nothing_gets_among_the_output(person, to):
    done = in_bash(f"edge-pose predict {person} /nowhere.png --json - 2>{to}")
    assert done.returncode == 1
    assert list(json.loads(done.stdout)) == [str(person)]
    ran = in_bash(f"edge-pose run --source {person} --broker {NOBODY} --print 2>{to}")
    assert ran.returncode == 0
    assert len(json.loads(ran.stdout)["poses"]) == 1


@pytest.mark.parametrize(
    ("to", "status", "said"),
    [(">/dev/full", 1, [FULL]), (">&-", 1, [CLOSED]), ("| true", 0, []), (">/dev/null", 0, [])],
)
def test_predict_writes_its_file_though_it_cannot_print(person, tmp_path, to, status, said):
    out = tmp_path / "out.json"
    done = in_bash(f"edge-pose predict {person} --json {out} {to}")
    assert (done.returncode, said_by(done)) == (status, said)
    ((entry,),) = json.loads(out.read_text()).values()
    assert len(entry["poses"]) == 1


def test_doctor_looks_on_though_it_cannot_print(person):
    done = in_bash(f"edge-pose doctor --source {person} --broker {NOBODY} >/dev/full")
    assert (done.returncode, said_by(done)) == (1, [FULL])


@needs_mosquitto
@pytest.mark.parametrize(("to", "status", "said"), [(">/dev/full", 1, FULL), ("| head -2", 0, "stopped after")])
def test_run_that_can_print_no_more_ends_as_if_it_were_stopped(clip, tmp_path, to, status, said):
    with Mosquitto(tmp_path / "broker") as broker, listen(broker, "edge-pose/+/status") as reader:
        done = in_bash(f"edge-pose run --source {clip} --loop --broker {broker.url} --print {to}")
        assert done.returncode == status, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        heard = [reader.get(5), reader.get(5)]
        assert [message.payload for message in heard if message] == [b"online", b"offline"]


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "latin-1"])
def test_a_name_that_the_encoding_lacks_is_spelled_out(encoding):
    name = os.fsdecode(b"bad\xff-\xc3\xa9-\xe2\x82\xac.jpg")
    config = {"PYTHONIOENCODING": encoding, "EDGE_POSE_CAMERA_SOURCE": name}
    done = in_bash("edge-pose config show", **config)
    assert (done.returncode, done.stderr) == (0, "")
    spelled = {"utf-8:strict": "-é-€", "ascii": r"-\xe9-\u20ac", "latin-1": "-\udce9-\\u20ac"}[encoding]
    # TOML writes a backslash of a name as two.
    assert rf'source = "bad\\xff{spelled}.jpg"' in done.stdout
    for command in (f"run --source '{name}' --broker {NOBODY}", f"predict '{name}'"):
        done = in_bash(f"edge-pose {command}", PYTHONIOENCODING=encoding)
        assert done.returncode == 1
        assert rf"bad\xff{spelled}.jpg: there is no such file" in done.stderr


def test_json_is_utf8_whatever_the_encoding_is(person, tmp_path):
    picture = tmp_path / "é.png"
    picture.write_bytes(person.read_bytes())
    done = in_bash(f"edge-pose predict {picture} --json -", PYTHONIOENCODING="latin-1")
    assert list(json.loads(done.stdout)) == [str(picture)]


def test_watch_is_ended_quietly_by_a_signal():
    command = [sys.executable, "-m", "edge", "watch", "--broker", NOBODY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in process.communicate(timeout=20)[1]
    assert process.returncode == 0


def test_a_name_that_is_no_text_can_be_had_again():
    for raw in (
        b"\xff",
        b"bad\xff.jpg",
        rb"bad\xff.jpg",
        rb"\x5c\x5cx41",
        b"\\\xff",
        b"\\x\xff",
        b"a\\b \xc3\xa9 \\xZZ",
        b"",
    ):
        written = as_utf8(os.fsdecode(raw)).encode()
        assert re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), written) == raw
    assert as_utf8("C:\\é.jpg") == "C:\\é.jpg"
    assert as_utf8(os.fsdecode(b"bad\xff.jpg")) == r"bad\xff.jpg"


@pytest.fixture
def strange(person, clip, tmp_path):
    """A picture, one that is called as the first is spelled, a folder and a film: names that are no text."""
    import cv2

    bad = os.fsdecode(b"\xff")
    (tmp_path / f"folder{bad}").mkdir()
    for name in (f"bad{bad}.png", r"bad\xff.png", f"folder{bad}/1{bad}.png", f"folder{bad}/2.png"):
        (tmp_path / name).write_bytes(person.read_bytes())
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (884, 496))
    for image, _ in zip(read_clip(clip), range(3), strict=False):
        writer.write(cv2.resize(image, (884, 496)))
    writer.release()
    return (tmp_path / "film.mp4").rename(tmp_path / f"film{bad}.mp4").parent


def test_files_whose_names_are_no_text_are_files_too(strange):
    done = in_bash(f"cd {strange} && edge-pose predict bad* folder* film* --json out.json --draw drawn")
    assert (done.returncode, said_by(done)) == (0, [])
    document = json.loads((strange / "out.json").read_bytes())
    assert set(document) == {r"bad\xff.png", r"bad\x5cxff.png", r"folder\xff", r"film\xff.mp4"}
    assert [entry["file"] for entry in document[r"folder\xff"]] == [r"1\xff.png", "2.png"]
    assert len(document[r"film\xff.mp4"]) == 3
    assert len(list((strange / "drawn").iterdir())) == 7
    assert r"film\xff.mp4: 3 frames" in done.stdout


@pytest.mark.parametrize("source", ["bad?.png", "film?.mp4"])
def test_every_command_takes_a_source_whose_name_is_no_text(strange, source):
    found = in_bash(f"cd {strange} && edge-pose doctor --json --source {source} --broker {NOBODY}")
    assert source.replace("?", r"\xff") in json.loads(found.stdout)["checks"][5]["text"]
    taken = in_bash(f"cd {strange} && edge-pose snapshot --source {source} $'aim\\xff.jpg'")
    assert taken.returncode == 0, taken.stderr
    assert (strange / os.fsdecode(b"aim\xff.jpg")).is_file()


def test_an_address_that_is_no_text_is_refused():
    done = in_bash(r"edge-pose run --source $'rtsp://127.0.0.1/\xff'")
    assert done.returncode == 2
    assert "expected a URL in UTF-8" in done.stderr
