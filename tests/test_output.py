"""Files that commands write: replaced as a whole, and what is no file stays what it is."""

import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from shell import in_bash, said_by

from edge.draw import write_picture
from edge.errors import EdgePoseError, UsageError
from edge.output import check_file, write_file


def write(path: Path, content: bytes) -> None:
    check_file(path, "--json")
    write_file(path, content)


def written_to(path: str, after: str = "", folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """What another process makes of a path that only it can see."""
    code = """
from pathlib import Path; from edge.output import check_file, write_file; import sys
print('before'); check_file(Path(sys.argv[1]), '--json'); write_file(Path(sys.argv[1]), b'content\\n'); print('after')
"""
    line = f'"$0" -c "$1" {path} {after}'
    return subprocess.run(
        ["bash", "-c", line, sys.executable, code], capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "out.json"
    path.write_bytes(b"before")
    path.chmod(0o640)
    write(path, b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_may_be(tmp_path):
    path = tmp_path / ("ä" * 125 + ".json")
    write(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target.json"
    for name, to in (("link", "far/second"), ("far/second", "target.json")):
        (tmp_path / name).symlink_to(to)
    write(tmp_path / "link", b"first")  # the target is not there yet
    number = target.stat().st_ino
    write(tmp_path / "link", b"second")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "second").is_symlink()
    assert target.read_bytes() == b"second"
    assert target.stat().st_ino != number
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["second", "target.json"]


def test_a_device_is_written_into_and_stays(full, tmp_path):
    (tmp_path / "link").symlink_to(full)
    for path in (full, tmp_path / "link"):
        check_file(path, "--json")
        with pytest.raises(EdgePoseError, match=r"No space left on device") as caught:
            write_file(path, b"x")
        assert caught.value.exit_status == 1
        assert stat.S_ISCHR(full.lstat().st_mode)
    assert (tmp_path / "link").is_symlink()


def test_a_pipe_is_written_into_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = os.urandom(300_000)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write(pipe, content)
    reader.join(10)
    assert heard == [content]
    assert pipe.is_fifo()


def test_standard_output_by_its_names_comes_after_what_was_printed(tmp_path):
    # Not /dev/stdout itself, which a mistake would cost root: a link that leads to the same.
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    for path in (str(tmp_path / "stdout"), "/proc/self/fd/1", "/dev/fd/1"):
        assert written_to(path).stdout == "before\ncontent\nafter\n"
        done = written_to(path, "> out.txt", tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.txt").read_text() == "before\ncontent\nafter\n"
    assert written_to(">(cat >&2; sleep 1)").stderr == "content\n"
    assert (tmp_path / "stdout").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "stdout"]
    assert "expected a file" in written_to("/proc/self/fd/0", "< /dev/null").stderr


@pytest.mark.parametrize("name", ["folder", "loop", "nowhere/x", "file/x"])
def test_what_cannot_be_written_is_found_before(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=f"--json {tmp_path / name}: expected a file"):
        check_file(tmp_path / name, "--json")


def test_an_ordinary_user_may_write_to_dev_null_and_is_told_what_is_closed():
    code = """
import os, sys; from pathlib import Path
from edge.output import check_file, write_file; from edge.draw import write_picture
from edge.errors import UsageError
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
check_file(Path(os.devnull), "--json"); write_file(Path(os.devnull), b"x")
for path in ("closed/file", "closed/new", "open/locked", "open/free", "open/new"):
    try:
        check_file(Path(path), "--json")
    except UsageError:
        print(path)
"""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        for below, mode in (("closed", 0o555), ("open", 0o777)):
            (folder / below).mkdir()
            for file, its_mode in (("file", 0o666), ("locked", 0o444), ("free", 0o666)):
                (folder / below / file).touch()
                (folder / below / file).chmod(its_mode)
            (folder / below).chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd=folder
        )
        (folder / "closed").chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["closed/file", "closed/new", "open/locked"]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.json"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(EdgePoseError, match="File too large"):
            write_file(path, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_that_does_not_fit_costs_predict_nothing_else(person, tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "person-000000.jpg").write_bytes(b"before")
    out = tmp_path / "out.json"
    done = in_bash(f"ulimit -f 40; edge-pose predict {person} {person} --draw {tmp_path}/drawn --json {out}")
    assert done.returncode == 1
    assert [line.partition(": cannot")[2] for line in said_by(done)] == [" be written: File too large"] * 2
    assert len(done.stdout.splitlines()) == 2
    assert len(json.loads(out.read_text())[str(person)][0]["poses"]) == 1
    assert [path.read_bytes() for path in (tmp_path / "drawn").iterdir()] == [b"before"]


def test_a_snapshot_that_does_not_fit_says_so(full, person, tmp_path):
    (tmp_path / "aim.jpg").symlink_to(full)
    done = in_bash(f"edge-pose snapshot --source {person} {tmp_path}/aim.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    assert said_by(done) == [f"edge-pose: {tmp_path}/aim.jpg: cannot be written: No space left on device"]


def test_a_demo_whose_picture_fits_nowhere_says_so(full, person, tmp_path):
    (tmp_path / "demo.png").symlink_to(full)
    demo = f"edge-pose demo --source {person} --picture {tmp_path}/demo.png"
    done = in_bash(f"TMPDIR={tmp_path} {demo}")
    assert done.returncode == 0
    assert said_by(done) == [f"edge-pose: {tmp_path}/demo.png: cannot be written: No space left on device"]
    assert list(tmp_path.glob("edge-pose-*/demo.jpg"))
    done = in_bash(f"ulimit -f 40; {demo}")
    assert done.returncode == 1
    assert "1 pose messages arrived" in done.stdout
    assert said_by(done)[-1].endswith("demo.jpg: cannot be written: File too large")


@pytest.mark.parametrize("command", ["demo --picture", "snapshot"])
@pytest.mark.parametrize("name", ["x.foo", "x", "folder.jpg", "nowhere/x.jpg"])
def test_a_picture_that_can_never_be_written_is_refused_before_any_work(tmp_path, command, name):
    (tmp_path / "folder.jpg").mkdir()
    done = in_bash(f"cd {tmp_path} && edge-pose {command} {name} --source /nowhere.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert "/nowhere.mp4" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_picture_that_no_jpeg_can_hold_is_said(tmp_path):
    with pytest.raises(EdgePoseError, match=r"a picture of 70000x2 cannot be written as \.jpg"):
        write_picture(tmp_path / "x.jpg", np.zeros((2, 70_000, 3), np.uint8))
    assert not list(tmp_path.iterdir())
