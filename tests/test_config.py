import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edge import config, config_file, config_load
from edge.errors import ConfigError, UsageError


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_later_sources_win_and_origins_are_kept(tmp_path):
    path = write(tmp_path, "[camera]\nwidth = 1280\nheight = 720\nfps = 15\n")
    loaded = config_load.load(path, {"camera.fps": 5}, {"EDGE_POSE_CAMERA_HEIGHT": "800", "EDGE_POSE_CAMERA_FPS": "7"})
    camera = loaded.settings.camera
    assert (camera.width, camera.height, camera.fps) == (1280, 800, 5)
    assert loaded.origins["camera.width"] == str(path)
    assert loaded.origins["camera.height"] == "EDGE_POSE_CAMERA_HEIGHT"
    assert loaded.origins["camera.fps"] == config_load.COMMAND_LINE
    assert loaded.origins["camera.rotate"] == config_load.DEFAULT


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[camera]\nwidht = 3", "did you mean width"),
        ("[camra]\nwidth = 640", r"unknown section \[camra\]; did you mean camera"),
        ("camera = 3", r"expected a section \[camera\]"),
        ("[camera]\nrotate = 45", "expected one of 0, 90, 180, 270"),
        ("[camera]\nwidth = '640'", "expected `int`, got `str`"),
        ("[model]\nthreads = 0", "expected `int` >= 1"),
        ("[model]\nmodel = 'lire'", "expected one of lite, full, heavy"),
        ("[model]\ndevice = 'gpu'", "not of the expected form"),
        ("[mqtt]\ndevice_name = 'a/b'", "one level of an MQTT topic"),
        ("[mqtt]\ndevice_name = 'a+'", "one level of an MQTT topic"),
        ("[mqtt]\ndevice_name = '#'", "one level of an MQTT topic"),
        ('[mqtt]\ndevice_name = "a\\n"', "one level of an MQTT topic"),
        ('[mqtt]\ndevice_name = "a\\u0085"', "one level of an MQTT topic"),
        ('[mqtt]\ndevice_name = "\\uFFFE"', "one level of an MQTT topic"),
        ('[mqtt]\ndevice_name = "\\U0010FFFF"', "one level of an MQTT topic"),
        ("[mqtt]\nbase = 'a//b'", "not of the expected form"),
        ('[mqtt]\nbase = "a\\n"', "not of the expected form"),
        ("[mqtt]\nbase = '$SYS/a'", r"not of the expected form .*no \$ first"),
        ("[mqtt]\nbase = '$share'", r"not of the expected form .*no \$ first"),
        ("[mqtt]\nhomeassistant_prefix = '$a'", "not of the expected form"),
        (f"[mqtt]\ndevice_name = '{129 * 'a'}'", r"device_name = 'a{119}\.\.\.: .*longer than 128 characters"),
        (f"[mqtt]\nbase = '{257 * 'a'}'", r"base = 'a{119}\.\.\.: .*256 characters at most"),
        (f"[mqtt]\nhomeassistant_prefix = '{257 * 'a'}'", "length <= 256"),
        (f"[mqtt]\nusername = '{10_001 * 'a'}'", "length <= 10000"),
        ("source = '0'\n", r"source stands outside of a section; put it below \[camera\]"),
        ("min_score = 0.5\n[camera]\n", r"put it below \[detector\] or \[tracker\]"),
        ("[width]\n", r"width stands outside of a section; put it below \[camera\]"),
        ("[camera\nwidth = 640", "not valid TOML"),
        ("a = " + 5000 * "[", "not valid TOML"),
    ],
)
def test_wrong_files_are_refused_with_a_reason(tmp_path, text, complaint):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        config_load.load(path, environment={})
    assert str(path) in str(caught.value) or "device_name" in text
    assert caught.value.exit_status == 78


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("EDGE_POSE_CAMERA_WITDH", "640", "did you mean EDGE_POSE_CAMERA_WIDTH"),
        ("EDGE_POSE_CAMERA_WIDTH", "wide", "expected `int`"),
        ("EDGE_POSE_CAMERA_ROTATE", "91", "expected one of 0, 90, 180, 270"),
    ],
)
def test_wrong_variables_are_refused_with_a_reason(variable, value, complaint):
    with pytest.raises(ConfigError, match=complaint):
        config_load.load(environment={variable: value})


def test_variables_are_read_as_what_they_stand_for():
    given = {"EDGE_POSE_CAMERA_ROTATE": "270", "EDGE_POSE_CAMERA_MIRROR": "true", "EDGE_POSE_PIPELINE_MAX_FPS": "2.5"}
    settings = config_load.load(environment=given | {"PATH": "/bin"}).settings
    assert (settings.camera.rotate, settings.camera.mirror, settings.pipeline.max_fps) == (270, True, 2.5)


def test_a_wrong_value_on_the_command_line_is_wrong_usage():
    with pytest.raises(UsageError, match=r"command line: model\.model = 'x': expected one of") as caught:
        config_load.load(overrides={"model.model": "x"}, environment={})
    assert caught.value.exit_status == 2


def test_a_missing_or_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        config_load.load(tmp_path / "none.toml", environment={})
    with pytest.raises(ConfigError, match="cannot be read"):
        config_load.load(tmp_path, environment={})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        config_load.load(tmp_path / "binary.toml", environment={})


def test_what_has_no_end_is_no_configuration(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="more than 1,000,000 bytes"):
        config_load.load(Path("/dev/zero"), environment={})
    monkeypatch.setattr(config_file, "PIPE_TIMEOUT_S", 0.3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="did not come"):
        config_load.load(tmp_path / "pipe", environment={})
    assert config_load.load(Path("/dev/null"), environment={}).settings == config.Settings()


@pytest.mark.parametrize("line", ["<(sleep 0.5; cat {file})", "/dev/stdin < {file}", "/dev/stdin < <(cat {file})"])
def test_a_configuration_may_come_through_a_pipe(tmp_path, line):
    path = write(tmp_path, "[camera]\nwidth = 1280\n")
    command = f"{sys.executable} -m edge config show --config {line.format(file=path)}"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "width = 1280" in shown


def test_what_show_prints_is_a_configuration_file_that_gives_the_same_settings(tmp_path):
    loaded = config_load.load(overrides={"camera.width": 1280, "mqtt.device_name": 'say "hi"'}, environment={})
    printed = config_load.as_toml(loaded)
    assert "width = 1280  # command line" in printed
    assert config_load.load(write(tmp_path, printed), environment={}).settings == loaded.settings
    assert set(tomllib.loads(printed)) == set(config.Settings.__struct_fields__)


def test_every_setting_says_what_it_means():
    assert all(meaning for _, _, meaning, _ in config_load.describe())
