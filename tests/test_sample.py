"""The sample clip where there is no place for it."""

import os
import subprocess
import sys

import pytest
from shell import in_bash, said_by

from edge import sample
from edge.errors import SourceError

NOBODY = "mqtt://127.0.0.1:1"


@pytest.mark.parametrize("command", ["run --source sample", "predict sample", "demo", "snapshot x.jpg --source sample"])
def test_a_cache_that_cannot_be_made_is_named_with_what_to_do(tmp_path, command):
    done = in_bash(f"cd {tmp_path} && edge-pose {command}", XDG_CACHE_HOME="/proc/readonly")
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = said_by(done)
    assert "it is kept in /proc/readonly/edge-pose, and it cannot be made: No such file" in said
    assert "Set XDG_CACHE_HOME" in said


def test_for_the_doctor_that_is_a_problem(tmp_path):
    (tmp_path / "edge-pose").touch()
    done = in_bash(f"edge-pose doctor --source sample --broker {NOBODY}", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "sample clip" in line]
    assert line.startswith("problem  camera")
    assert "it cannot be made: File exists" in line


def test_a_full_disk_and_a_file_that_is_closed_are_said(full, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_fetch", clip.read_bytes)  # a download for every test run would be 9 MB
    folder = tmp_path / "edge-pose"
    folder.mkdir()
    (folder / clip.name).symlink_to(full)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SourceError, match=r"cannot be written: No space left on device.*Set XDG_CACHE_HOME"):
        sample.clip_path()
    (folder / clip.name).unlink()
    assert sample.clip_path().read_bytes() == clip.read_bytes()


def test_a_download_without_a_place_is_said(tmp_path):
    places = {"TMPDIR": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}
    # Python falls back to /tmp, where a file of this size does not fit.
    done = in_bash("ulimit -f 0; edge-pose run --source sample", **places)
    assert done.returncode == 1
    assert "sample clip: it is not in" in said_by(done)[-1]
    assert "there is no place for the download: No usable temporary directory" in said_by(done)[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody without a home")
def test_somebody_without_a_home_is_told():
    code = "import os; from edge.sample import cache_directory; os.setuid(4242); cache_directory()"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "edge.errors.SourceError: sample clip: this user has no home to keep it in" in done.stderr
