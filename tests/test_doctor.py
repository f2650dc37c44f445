"""doctor and snapshot, as a user calls them."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from brokers import Mosquitto, needs_mosquitto
from certificates import authority, certificate, needs_openssl
from conftest import read_clip, settings

from edge import cli, doctor_host, doctor_setup, health
from edge.config import Settings
from edge.snapshot import snapshot

NOBODY = "mqtt://127.0.0.1:1"


def examined(capsys, *arguments):
    """doctor's exit status, and its findings by check."""
    status = cli.main(["doctor", "--json", "--broker", NOBODY, *map(str, arguments)])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is (status == 0)
    findings = {}
    for finding in document["checks"]:
        findings.setdefault(finding["check"], []).append(finding)
    return status, findings


@pytest.fixture(scope="module")
def person(clip, tmp_path_factory):
    """A picture with somebody in it."""
    path = tmp_path_factory.mktemp("doctor") / "person.png"
    image = next(image for number, image in enumerate(read_clip(clip)) if number == 60)
    cv2.imwrite(str(path), image[250:994, 900:1768])
    return path


@pytest.fixture(autouse=True)
def no_services(monkeypatch):
    """Whatever runs on this machine does not change what these tests find."""
    monkeypatch.setattr(doctor_setup, "_units", list)


def test_a_host_on_which_run_works(capsys, person):
    status, findings = examined(capsys, "--source", person)
    assert status == 0
    wanted = {"Python", "packages", "numpy", "configuration", "models", "camera", "permissions", "Edge TPU", "broker"}
    wanted |= {"device name", "memory", "temperature", "throttling", "governor", "clock", "service"}
    assert set(findings) == wanted
    for found in findings.values():
        for finding in found:
            assert finding["state"] in ("ok", "warning", "problem")
            assert bool(finding["mend"]) is (finding["state"] != "ok"), finding
    assert findings["camera"][0]["state"] == "ok"
    assert "868x744" in findings["camera"][0]["text"]
    # A broker that is away does not stop `run`.
    assert findings["broker"][0]["state"] == "warning"
    assert "mosquitto" in findings["broker"][0]["mend"]


def test_lines_for_people(capsys, person):
    assert cli.main(["doctor", "--source", str(person), "--broker", NOBODY]) == 0
    output = capsys.readouterr().out
    assert "ok       models" in output
    assert "warning  broker" in output
    assert "-> set mqtt.broker" in output
    assert "Problems that would stop `edge-pose run`: 0." in output


def test_a_camera_that_is_not_there_stops_run(capsys, tmp_path):
    status, findings = examined(capsys, "--source", "/dev/video97")
    assert status == 1
    assert findings["camera"][0]["state"] == "problem"
    assert "/dev/video97" in findings["camera"][0]["text"]
    status, findings = examined(capsys, "--source", tmp_path / "none.mp4")
    assert status == 1


def test_passwords_of_cameras_are_not_shown(capsys):
    cli.main(["doctor", "--source", "rtsp://admin:s3cret@127.0.0.1:1/live", "--broker", NOBODY])
    output = capsys.readouterr()
    assert "camera" in output.out
    assert "s3cret" not in output.out + output.err


def test_a_wrong_configuration_stops_run_and_does_not_hide_the_rest(capsys, tmp_path):
    (tmp_path / "config.toml").write_text("[detector]\nmin_skore = 1\n")
    status, findings = examined(capsys, "--config", tmp_path / "config.toml")
    assert status == 1
    assert "did you mean min_score" in findings["configuration"][0]["text"]
    assert "models" not in findings
    assert findings["memory"][0]["state"] in ("ok", "warning")


def test_a_damaged_model_stops_run(capsys, tmp_path, person, store):
    for path in store.directory.glob("*.t*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (entry,) = (entry for entry in store.manifest.models if (entry.variant, entry.precision) == ("lite", "float16"))
    target = tmp_path / entry.file
    target.write_bytes(target.read_bytes()[:-1000])
    (tmp_path / "config.toml").write_text(f'[model]\ndirectory = "{tmp_path}"\nprecision = "float16"\n')
    status, findings = examined(capsys, "--config", tmp_path / "config.toml", "--source", person)
    assert status == 1
    assert findings["models"][0]["state"] == "problem"
    assert entry.file in findings["models"][0]["text"]
    assert "models verify" in findings["models"][0]["mend"]


@needs_mosquitto
def test_a_broker_that_lets_us_in_and_one_that_refuses(capsys, tmp_path, person):
    with Mosquitto(tmp_path / "open") as mosquitto:
        _, findings = examined(capsys, "--source", person, "--broker", mosquitto.url)
        assert findings["broker"][0]["state"] == "ok"
        assert "MQTT 5" in findings["broker"][0]["text"]
    with Mosquitto(tmp_path / "closed", "allow_anonymous false") as mosquitto:
        status, findings = examined(capsys, "--source", person, "--broker", mosquitto.url)
        assert status == 0
        assert findings["broker"][0]["state"] == "warning"
        assert "mqtt.username" in findings["broker"][0]["mend"]


@needs_mosquitto
@needs_openssl
@pytest.mark.parametrize(
    ("host", "trusted", "days", "mend"),
    [
        ("localhost", True, 2, "set the host in mqtt.broker to the name that the broker's certificate is made out to"),
        ("127.0.0.1", False, 2, "set mqtt.ca_file to the certificate of the authority"),
        ("127.0.0.1", True, -1, "look at `timedatectl`; if the clock is right, give the broker a new certificate"),
    ],
    ids=["another name", "another authority", "expired"],
)
def test_a_certificate_that_is_not_right_is_no_reason_to_go_without_tls(tmp_path, host, trusted, days, mend):
    signer = authority(tmp_path, "authority")
    given, key = certificate(tmp_path, "broker", signer, days)
    trust = signer[0] if trusted else authority(tmp_path, "other")[0]
    with Mosquitto(tmp_path / "broker", f"certfile {given}", f"keyfile {key}") as mosquitto:
        mqtt = mosquitto.settings(broker=f"mqtts://{host}:{mosquitto.port}", ca_file=str(trust))
        (found,) = doctor_setup.broker(Settings(mqtt=mqtt))
    assert found.state == "warning"
    assert mend in found.mend
    assert "mqtt://" not in found.mend


@needs_mosquitto
def test_a_broker_that_lets_us_in_and_not_write(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic write edge-pose/attic/#\n")
    with Mosquitto(tmp_path / "broker", f"acl_file {acl}") as mosquitto:
        for device, state in (("attic", "ok"), ("kitchen", "warning")):
            found = list(doctor_setup.broker(Settings(mqtt=mosquitto.settings(device_name=device))))
            assert found[-1].state == state
        assert "does not allow edge-pose/kitchen/" in found[-1].text
        assert "access list" in found[-1].mend


@needs_mosquitto
def test_a_missing_password_file_stops_run(capsys, tmp_path, person):
    missing = tmp_path / "password"
    (tmp_path / "config.toml").write_text(f'[mqtt]\nusername = "me"\npassword_file = "{missing}"\n')
    status, findings = examined(capsys, "--source", person, "--config", tmp_path / "config.toml")
    assert status == 1
    assert findings["broker"][0]["state"] == "problem"
    assert str(missing) in findings["broker"][0]["text"]


def test_two_cameras_with_one_name_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_setup, "SYSTEM_CONFIG", tmp_path / "config.toml")
    for name, device in (("config", ""), ("door", "door"), ("yard", "door")):
        (tmp_path / f"{name}.toml").write_text(f'[mqtt]\ndevice_name = "{device}"\n')
    first, last = doctor_setup.names(settings())
    assert first.state == "warning"
    assert "door.toml and yard.toml both use door" in first.text
    assert last.state == "ok"


def test_a_throttled_pi(monkeypatch):
    monkeypatch.setattr(health, "throttle_word", lambda: 0x50000)
    (found,) = doctor_host.throttling()
    assert found.state == "warning"
    assert "since the start: under-voltage, throttled" in found.text
    assert "power supply" in found.mend
    monkeypatch.setattr(health, "throttle_word", lambda: 0)
    assert next(doctor_host.throttling()).state == "ok"
    monkeypatch.setattr(health, "throttle_word", lambda: 0x80008)
    assert "fan" in next(doctor_host.throttling()).mend


def test_heat_and_little_memory(monkeypatch):
    monkeypatch.setattr(health, "temperature_c", lambda: 84.0)
    assert next(doctor_host.temperature()).state == "warning"
    monkeypatch.setattr(health, "available_mb", lambda: 120.0)
    assert "120 MB" in next(doctor_host.memory()).text
    assert next(doctor_host.memory()).state == "warning"


@pytest.mark.parametrize(("name", "state"), [("powersave", "warning"), ("ondemand", "ok"), ("performance", "ok")])
def test_the_governor(tmp_path, name, state):
    (tmp_path / "cpu0" / "cpufreq").mkdir(parents=True)
    (tmp_path / "cpu0" / "cpufreq" / "scaling_governor").write_text(name + "\n")
    (found,) = doctor_host.governor(tmp_path)
    assert found.state == state
    assert name in found.text


@pytest.mark.parametrize(("answer", "state"), [("yes", "ok"), ("no", "warning"), ("", "ok")])
def test_the_clock(monkeypatch, answer, state):
    monkeypatch.setattr(doctor_host, "ask", lambda *_: answer)
    assert next(doctor_host.clock()).state == state


def test_a_unit_that_fails_is_told(monkeypatch):
    shown = {"ActiveState": "failed", "Result": "watchdog", "NRestarts": "4", "LoadState": "loaded"}
    monkeypatch.setattr(doctor_setup, "_units", lambda: ["edge-pose.service"])
    monkeypatch.setattr(doctor_setup, "_show", lambda _unit, name: shown.get(name, ""))
    (found,) = doctor_setup.units()
    assert found.state == "warning"
    assert "watchdog" in found.text
    assert "journalctl -u edge-pose.service" in found.mend


def test_a_check_that_falls_over_is_said(capsys, person, monkeypatch):
    def broken():
        raise RuntimeError("unexpected")

    monkeypatch.setitem(doctor_host.MACHINE_CHECKS, "memory", broken)
    status, findings = examined(capsys, "--source", person)
    assert status == 0
    assert "unexpected" in findings["memory"][0]["text"]
    assert "clock" in findings


def test_snapshot_draws_who_is_there(person, tmp_path, capsys):
    target = tmp_path / "out.jpg"
    assert cli.main(["snapshot", "--source", str(person), str(target)]) == 0
    assert "868x744, 1 person, score" in capsys.readouterr().out
    drawn, before = cv2.imread(str(target)), cv2.imread(str(person))
    assert drawn.shape == before.shape
    changed = np.abs(drawn.astype(int) - before).max(axis=2) > 60
    assert 0.001 < changed.mean() < 0.2


def test_snapshot_turns_the_picture_and_works_without_anybody(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((200, 300, 3), 90, np.uint8))
    wanted = settings(camera__source=str(tmp_path / "empty.png"), camera__rotate=90)
    assert snapshot(wanted, tmp_path / "out.png") == 0
    assert "200x300, nobody in view" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "out.png")).shape == (300, 200, 3)


@pytest.mark.parametrize("target", ["out.gif", "no/such/folder.jpg"])
def test_snapshot_says_where_it_cannot_write(person, tmp_path, target, capsys):
    assert cli.main(["snapshot", "--source", str(person), str(tmp_path / target)]) == 2
    assert "edge-pose: " in capsys.readouterr().err


def test_doctor_is_a_command():
    command = [sys.executable, "-m", "edge", "doctor", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0
    assert "--json" in shown.stdout
