"""The report of a Coral, made with our delegate in the chip's place: its form, and that it says what differs."""

import json

import pytest
from edgetpu_models import write_folder
from edgetpu_parts import build_delegate

from edge import edgetpu_report
from edge.edgetpu_report import edgetpu_celsius, main


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    library = build_delegate(tmp_path)
    write_folder(tmp_path)
    monkeypatch.setenv("EDGE_POSE_MODEL_EDGETPU_LIBRARY", str(library))
    monkeypatch.delenv("TEST_DELEGATE", raising=False)
    report = tmp_path / "report.json"
    return ["--models", str(tmp_path), "--invocations", "3", "--seconds", "0.1", "--json", str(report)], report


def test_a_report_holds_what_only_the_chip_can_tell(arguments):
    options, path = arguments
    assert main(options) == 0
    report = json.loads(path.read_text())
    assert report["library"] == "BuildLabel(test), RuntimeVersion(14)"
    assert report["board"]["runtime"].startswith(("ai-edge-litert", "tflite-runtime"))
    landmarks, detector = report["models"]
    assert (landmarks["name"], detector["name"]) == ("pose_landmark_lite", "pose_detector")
    assert landmarks["edgetpu_ms"]["count"] == landmarks["cpu_ms"]["count"] == report["alternating_ms"]["count"] == 3
    assert len(report["sustained_fps"]) == 10
    assert min(report["sustained_fps"]) > 0
    # The delegate gives the lowest value of int8 everywhere; the model's presence is 0.9, of a scale of 0.01.
    presence = next(entry for entry in landmarks["differences"] if entry["output"] == "presence")
    assert presence["mean"] == pytest.approx(0.9 + 1.28, abs=0.02)


def test_a_device_that_does_not_open_is_told_before_anything_is_measured(arguments, monkeypatch, capsys):
    options, path = arguments
    monkeypatch.setenv("TEST_DELEGATE", "crash")
    assert main(options) == 1
    assert "coral-report: crash: opening the Edge TPU ends the process" in capsys.readouterr().err
    assert not path.exists()


def test_a_model_that_is_not_compiled_is_told(arguments, tmp_path, capsys):
    options, path = arguments
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(manifest.read_text().partition("[[edgetpu]]")[0])
    assert main(options) == 1
    assert "edge-pose models compile" in capsys.readouterr().err
    assert not path.exists()


def test_the_pictures_are_the_same_everywhere():
    first, second = (list(edgetpu_report.make_pictures(32)) for _ in range(2))
    assert len(first) == edgetpu_report.PICTURES
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert first[0].std() > 10


def test_the_temperature_of_a_pcie_device(tmp_path):
    assert edgetpu_celsius(tmp_path) is None
    folder = tmp_path / "class/apex/apex_0"
    folder.mkdir(parents=True)
    (folder / "temp").write_text("51050\n")
    assert edgetpu_celsius(tmp_path) == pytest.approx(51.05)
    (folder / "temp").write_text("\n")
    assert edgetpu_celsius(tmp_path) is None
