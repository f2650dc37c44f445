"""What `edge-pose doctor` is told about cameras: which there are, who may open them, and where picamera2 is."""

import os
import sys
from pathlib import Path

import pytest

from edge import camera_environment, camera_list
from edge.camera_environment import explain_missing_picamera2
from edge.camera_list import dma_heap_problem, list_cameras, permission_problem, v4l2_cameras

NOT_FOUND = ModuleNotFoundError("No module named 'picamera2'")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system whose Python has picamera2, as on Raspberry Pi OS, looked at from a virtual environment."""
    packages = tmp_path / "dist-packages"
    (packages / "picamera2").mkdir(parents=True)
    monkeypatch.setattr(camera_environment, "SYSTEM_PACKAGES", packages)
    monkeypatch.setattr(camera_environment, "system_python", lambda: sys.version_info[:2])
    monkeypatch.setattr(sys, "prefix", "/home/pi/edge-pose/.venv")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    return packages


def test_picamera2_that_is_not_installed_is_mended_by_apt(system: Path) -> None:
    (system / "picamera2").rmdir()
    said = explain_missing_picamera2(NOT_FOUND)
    assert "sudo apt install -y --no-install-recommends python3-picamera2 && sed -i" in said


def test_an_environment_that_does_not_see_the_system_is_told_to(system: Path) -> None:
    said = explain_missing_picamera2(NOT_FOUND)
    assert "include-system-site-packages = true" in said
    assert "/home/pi/edge-pose/.venv/pyvenv.cfg" in said
    assert str(system) not in sys.path


def test_the_mend_of_an_environment_works(system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "pyvenv.cfg"
    settings.write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    command = explain_missing_picamera2(NOT_FOUND).partition(": ")[2]
    assert os.system(command) == 0  # noqa: S605 -- the very line that the user is told to run
    assert "include-system-site-packages = true\n" in settings.read_text()
    assert system.exists()


def test_another_python_than_the_systems_needs_a_new_environment(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_environment, "system_python", lambda: (3, 99))
    said = explain_missing_picamera2(NOT_FOUND)
    assert "/usr/bin/python3 -m venv --clear --system-site-packages /home/pi/edge-pose/.venv" in said
    assert system.exists()


@pytest.mark.parametrize(("version", "wanted"), [((3, 11), "'numpy<2'"), ((3, 13), "'numpy>=2'")])
def test_a_numpy_that_does_not_fit_is_replaced_by_one_that_does(
    system: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], wanted: str
) -> None:
    """Bookworm's picamera2 was built against numpy 1, Trixie's against numpy 2."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(system)])
    monkeypatch.setattr(sys, "version_info", (*version, 2, "final", 0))
    monkeypatch.setattr(camera_environment, "system_python", lambda: version)
    said = explain_missing_picamera2(ValueError("numpy.dtype size changed, may indicate binary incompatibility"))
    assert f"-m pip install {wanted}" in said


def test_a_picamera2_that_does_not_start_is_installed_again(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(system)])
    said = explain_missing_picamera2(ImportError("libcamera.so.0.5: cannot open shared object file"))
    assert "--reinstall python3-picamera2 python3-libcamera" in said


def test_a_device_that_may_not_be_opened_is_mended_by_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "video0"
    device.touch()
    assert permission_problem(device) == ""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may open everything
    assert f"sudo usermod -aG {device.group()} " in permission_problem(device)
    monkeypatch.setattr(camera_list, "DMA_HEAPS", (tmp_path / "missing", device))
    assert str(device) in dma_heap_problem()


def test_the_cameras_of_this_machine_are_its_capture_devices() -> None:
    devices = {str(path) for path in Path("/dev").glob("video[0-9]*")}
    for camera in v4l2_cameras():
        assert str(Path(camera.source).resolve()) in devices
        assert camera.description
    assert len(v4l2_cameras()) <= len(devices)
    assert {camera.source for camera in v4l2_cameras()} <= {camera.source for camera in list_cameras()}
