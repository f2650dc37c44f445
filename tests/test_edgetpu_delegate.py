"""The loop on a delegate that is really loaded, by both TFLite runtimes: each fault, its error and the reaction."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from edgetpu_models import write_folder
from edgetpu_parts import build_delegate, host_of

from edge import doctor_models, doctor_setup, edgetpu
from edge.config_load import load

TESTS = Path(__file__).parent
GUEST_S = 180
WATCHDOG_S = 1.5


@pytest.fixture(
    scope="module",
    params=[
        "ai-edge-litert",
        "tflite-runtime",
        pytest.param("ai-edge-litert, arm64", marks=pytest.mark.slow),
        pytest.param("tflite-runtime, arm64", marks=pytest.mark.slow),
    ],
)
def host(request):
    return host_of(request.param)


@pytest.fixture(scope="module")
def parts(tmp_path_factory, host):
    """The delegate for that host, and a models folder for it."""
    folder = tmp_path_factory.mktemp("edgetpu")
    library = build_delegate(folder, host.compiler)
    write_folder(folder)
    return library, folder


@pytest.fixture(scope="module")
def outcome(host, parts):
    """What happened in each case, on each host, in a process of its own."""
    library, models = parts
    command = [*host.python, str(TESTS / "edgetpu_guest.py"), host.runtime, str(library), str(models)]
    done = subprocess.run(command, env=host.environment, capture_output=True, text=True, timeout=GUEST_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_models_run_where_the_settings_say(outcome):
    where = {
        case: [model["device"] for model in outcome[case]["info"]["models"]] for case in ("cpu", "well", "both", "two")
    }
    assert where == {
        "cpu": ["cpu", "cpu"],
        "well": ["cpu", "edgetpu:usb"],
        "both": ["edgetpu", "edgetpu"],
        "two": ["edgetpu:pci:0", "edgetpu:1"],
    }
    assert all(outcome[case]["frames"] == 4 for case in where)


def test_which_operators_run_where_is_published(outcome):
    detector, landmarks = outcome["well"]["info"]["models"]
    assert (detector["edgetpu_ops"], detector["cpu_ops"]) == (None, None)
    assert (landmarks["edgetpu_ops"], landmarks["cpu_ops"]) == (9, 1)
    assert outcome["well"]["info"]["delegate"] == "edgetpu:usb"


FAULTS = {
    "no-device": "this Edge TPU is not here: none is connected: plug it in",
    "other-device": "this Edge TPU is not here: there is only: usb 1-1 at 480 Mbit/s (USB 2",
    "permission": "this user may not open /nonexistent/node: put the udev rule",
    "busy": "the library did not open the Edge TPU, which is here and may be opened",
    "refuse-apply": "the Edge TPU refuses",
    "refuse-prepare": "executable needs a newer runtime",
    "library-missing": "/nonexistent/libedgetpu.so.1 is not installed: install libedgetpu",
    "library-broken": "cannot be loaded: ",
    "library-other": "is no libedgetpu that this program can use",
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_has_its_own_error(outcome, case):
    happened = outcome[case]
    assert (happened.get("error"), happened["frames"]) == ("DelegateError", 0)
    assert FAULTS[case] in happened["text"]
    others = [text for name, text in FAULTS.items() if name != case]
    assert sum(text in happened["text"] for text in others) <= (case == "refuse-prepare")  # also a refusal
    assert "\n" not in happened["text"]


def test_a_device_that_fails_in_mid_run_ends_the_run_with_what_it_said(outcome):
    happened = outcome["unplugged"]
    assert (happened["error"], happened["frames"]) == ("DelegateError", 2)
    assert "failed while running pose_landmark_lite_edgetpu.tflite: Failed to execute request" in happened["text"]
    assert "unplugged" in happened["text"]


def test_a_precision_that_the_device_cannot_run_is_a_wrong_setting(outcome):
    assert outcome["precision"]["error"] == "ConfigError"
    assert "runs int8-full only" in outcome["precision"]["text"]


@pytest.mark.parametrize(
    ("case", "reason"), [("fallback-device", "none is connected"), ("fallback-refused", "refuses")]
)
def test_a_fallback_that_is_allowed_is_logged_and_published(outcome, case, reason):
    happened = outcome[case]
    detector, landmarks = happened["info"]["models"]
    assert happened["frames"] == 4
    assert landmarks["device"] == "cpu"
    assert reason in landmarks["fallback"]
    assert detector["fallback"] == ""
    assert len(happened["log"]) == 1
    assert 'as model.fallback = "cpu" allows' in happened["log"][0]
    assert reason in happened["log"][0]


def test_a_fallback_that_is_not_needed_is_not_taken(outcome):
    assert [model["fallback"] for model in outcome["fallback-unused"]["info"]["models"]] == ["", ""]
    assert outcome["fallback-unused"]["log"] == []


def test_a_model_that_is_not_compiled_never_runs_on_the_cpu_in_the_accelerators_name(outcome):
    """libedgetpu's delegate takes it without complaint, and does nothing."""
    assert outcome["plain"]["error"] == "DelegateError"
    assert "is not compiled for the Edge TPU, so the CPU would run all of it" in outcome["plain"]["text"]


class Started:
    """`edge-pose run` on the delegate, with a socket in the place of systemd's."""

    def __init__(self, host, parts, folder, mode):
        library, models = parts
        pictures = folder / "pictures"
        pictures.mkdir()
        cv2.imwrite(str(pictures / "grey.png"), np.full((240, 320, 3), 128, np.uint8))
        (folder / "config.toml").write_text(
            f'[camera]\nsource = "{pictures}"\nloop = true\n[tracker]\nidle_fps = 0\n[pipeline]\nmax_fps = 20\n'
            f'[model]\ndevice = "edgetpu"\ndetector_device = "cpu"\nruntime = "{host.runtime}"\n'
            f'edgetpu_library = "{library}"\ndirectory = "{models}"\n[mqtt]\nbroker = "mqtt://127.0.0.1:9"\n'
        )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.said = (folder / "said").open("a+")
        stream = os.fstat(self.said.fileno())
        environment = {
            **host.environment,
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
            "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}",
            "TEST_DELEGATE": mode,
        }
        command = [*host.python, "-m", "edge", "run", "--config", str(folder / "config.toml")]
        self.process = subprocess.Popen(command, env=environment, cwd=TESTS.parent, stderr=self.said)

    def fed_within(self, seconds):
        """Whether the watchdog is fed in that time."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.socket.settimeout(left_s)
            try:
                if b"WATCHDOG=1" in self.socket.recv(4096):
                    return True
            except TimeoutError:
                return False
        return False

    def text(self):
        self.said.seek(0)
        return self.said.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.socket.close()
        self.said.close()


def test_a_device_that_hangs_starves_the_watchdog_and_its_signal_says_where(host, parts, tmp_path):
    with Started(host, parts, tmp_path, "hang:30") as started:
        assert started.fed_within(60), started.text()  # it runs
        deadline_s = time.monotonic() + 60
        while started.fed_within(WATCHDOG_S * 2):  # until it hangs: systemd's time is over twice
            assert time.monotonic() < deadline_s, "it never hung"
        assert started.process.poll() is None  # alive, and stuck: only the watchdog can tell
        started.process.send_signal(signal.SIGABRT)  # as systemd does
        assert started.process.wait(30) == -signal.SIGABRT
        if host.emulated:
            return  # qemu keeps this signal to itself
        assert "Fatal Python error: Aborted" in started.text()
        assert 'runtime.py", line' in started.text()
        assert "in invoke" in started.text()


def test_a_device_that_fails_in_mid_run_ends_the_service_with_an_error_for_systemd_to_restart_it(host, parts, tmp_path):
    with Started(host, parts, tmp_path, "fail:10") as started:
        assert started.process.wait(60) == 1  # not 78, on which the unit stays down
        assert "the Edge TPU failed while running" in started.text()
        assert "Traceback" not in started.text()


DOCTOR = {
    "well": ("", "ok", "on edgetpu (9 operators there, 1 on the CPU)", "ok", "edgetpu opens, with BuildLabel(test)"),
    "no device": ("refuse-create", "problem", "none is connected", "problem", "none is connected"),
    "refused": ("refuse-prepare", "problem", "the Edge TPU refuses", "ok", "edgetpu opens"),
    "unplugged": ("fail:2", "problem", "failed while running", "ok", "edgetpu opens"),
    "hangs": ("hang:2", "problem", "running the models takes longer than", "ok", "edgetpu opens"),
    "wrong library": ("crash", "problem", "(signal 6), as a wrong libedgetpu", "problem", "(signal 6), as a wrong"),
}


def on_tpu(folder, more):
    wanted = {"model.device": "edgetpu", "model.directory": str(folder), "model.detector_device": "cpu"}
    wanted["model.edgetpu_library"] = str(build_delegate(folder))
    return load(overrides={**wanted, **more}, environment={}).settings


@pytest.mark.parametrize("case", DOCTOR)
@pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
def test_doctor_has_a_line_for_each_fault_and_survives_it(tmp_path, monkeypatch, runtime, case):
    mode, state, text, device_state, device_text = DOCTOR[case]
    monkeypatch.setenv("PYTHONPATH", host_of(runtime).environment["PYTHONPATH"])
    monkeypatch.setenv("TEST_DELEGATE", mode)
    write_folder(tmp_path)
    settings = on_tpu(tmp_path, {"model.runtime": runtime})
    (models,) = doctor_models.models(settings, timeout_s=4 if case == "hangs" else 60)
    assert (models.state, text in models.text, bool(models.mend)) == (state, True, state == "problem"), models
    if runtime == "tflite-runtime" and device_state == "ok":
        return  # seen above; a process for each line takes its time
    (device,) = doctor_setup.accelerator(settings)
    assert (device.state, device_text in device.text) == (device_state, True), device
    assert bool(device.mend) is (device_state == "problem")


def test_doctor_warns_where_the_cpu_runs_what_the_edge_tpu_was_asked_to(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_DELEGATE", "refuse-create")
    write_folder(tmp_path)
    settings = on_tpu(tmp_path, {"model.fallback": "cpu"})
    fine, fallen = doctor_models.models(settings)
    (device,) = doctor_setup.accelerator(settings)
    assert (fine.state, fallen.state, device.state) == ("ok", "warning", "warning")
    assert "pose_landmark_lite int8-full on cpu" in fine.text
    assert "none is connected" in fallen.text
    monkeypatch.setenv("TEST_DELEGATE", "crash")  # nothing falls back from that
    (device,) = doctor_setup.accelerator(settings)
    assert device.state == "problem"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may open what the service may not")
def test_doctor_as_root_sees_what_the_service_may_not_open(tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_DELEGATE", raising=False)
    node = tmp_path / "007"
    node.touch(mode=0o660)
    monkeypatch.setattr(doctor_setup, "_user", lambda: "nobody")
    monkeypatch.setattr(edgetpu, "devices", lambda: [edgetpu.EdgeTpu("usb", "2-1", node, 5000)])
    settings = on_tpu(tmp_path, {})
    (device,) = doctor_setup.accelerator(settings)
    assert device.state == "problem"
    assert f"nobody may not open {node}" in device.text
    assert "sudo usermod -aG plugdev nobody" in device.mend
    node.chmod(0o666)
    (device,) = doctor_setup.accelerator(settings)
    assert device.state == "ok"
