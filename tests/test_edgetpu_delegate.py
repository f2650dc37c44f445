"""The loop on a delegate that is really loaded, by both TFLite runtimes: each fault, its error and the reaction."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from edgetpu_models import write_folder
from edgetpu_parts import CACHE, build_delegate, environment_of, fetch_tflite

TESTS = Path(__file__).parent
GUEST_S = 180
WATCHDOG_S = 1.5


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The delegate and a models folder for it."""
    folder = tmp_path_factory.mktemp("edgetpu")
    library = build_delegate(folder)
    write_folder(folder)
    return library, folder


@pytest.fixture(scope="module", params=["ai-edge-litert", "tflite-runtime"])
def outcome(request, parts):
    """What happened in each case, under each runtime, in a process of its own."""
    library, models = parts
    command = [sys.executable, str(TESTS / "edgetpu_guest.py"), request.param, str(library), str(models)]
    return run_guest(command, environment_of(request.param))


def run_guest(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GUEST_S, check=False)
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


def test_a_model_that_is_not_compiled_never_runs_on_the_cpu_in_the_accelerators_name(parts):
    """libedgetpu's delegate takes it without complaint, and does nothing."""
    from edge.errors import DelegateError
    from edge.manifest import ModelStore
    from edge.runtime import Model, load_runtime

    library, models = parts
    store = ModelStore(models)
    entry = store.find("landmarks", "lite", "int8-full")
    with pytest.raises(DelegateError, match="is not compiled for the Edge TPU, so the CPU would run all of it"):
        Model(store, entry, load_runtime("ai-edge-litert"), "edgetpu", 1, library=str(library))


class Started:
    """`edge-pose run` on the delegate, with a socket in the place of systemd's."""

    def __init__(self, parts, folder, mode):
        library, models = parts
        pictures = folder / "pictures"
        pictures.mkdir()
        cv2.imwrite(str(pictures / "grey.png"), np.full((240, 320, 3), 128, np.uint8))
        (folder / "config.toml").write_text(
            f'[camera]\nsource = "{pictures}"\nloop = true\n[tracker]\nidle_fps = 0\n[pipeline]\nmax_fps = 20\n'
            f'[model]\ndevice = "edgetpu"\ndetector_device = "cpu"\nruntime = "ai-edge-litert"\n'
            f'edgetpu_library = "{library}"\ndirectory = "{models}"\n[mqtt]\nbroker = "mqtt://127.0.0.1:9"\n'
        )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.said = (folder / "said").open("a+")
        stream = os.fstat(self.said.fileno())
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
            "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}",
            "TEST_DELEGATE": mode,
        }
        command = [sys.executable, "-m", "edge", "run", "--config", str(folder / "config.toml")]
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


def test_a_device_that_hangs_starves_the_watchdog_and_its_signal_says_where(parts, tmp_path):
    with Started(parts, tmp_path, "hang:30") as started:
        assert started.fed_within(60), started.text()  # it runs
        deadline_s = time.monotonic() + 60
        while started.fed_within(WATCHDOG_S * 2):  # until it hangs: systemd's time is over twice
            assert time.monotonic() < deadline_s, "it never hung"
        assert started.process.poll() is None  # alive, and stuck: only the watchdog can tell
        started.process.send_signal(signal.SIGABRT)  # as systemd does
        assert started.process.wait(30) == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in started.text()
        assert 'runtime.py", line' in started.text()
        assert "in invoke" in started.text()


def test_a_device_that_fails_in_mid_run_ends_the_service_with_an_error_for_systemd_to_restart_it(parts, tmp_path):
    with Started(parts, tmp_path, "fail:10") as started:
        assert started.process.wait(60) == 1  # not 78, on which the unit stays down
        assert "the Edge TPU failed while running" in started.text()
        assert "Traceback" not in started.text()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
def test_the_delegate_on_arm64(parts, tmp_path, runtime):
    """Under user-mode qemu, in the tree that tests/benchmarks/arm-setup makes."""
    here = CACHE / "arm64"
    if not (here / "root/opt/packages/ai_edge_litert").is_dir() or not (here / "qemu-aarch64").is_file():
        pytest.skip("no arm64 tree: run tests/benchmarks/arm-setup")
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("no C compiler for arm64 (apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)")
    packages = [str(TESTS.parent), str(here / "root/opt/packages")]
    if runtime == "tflite-runtime":
        arm = (
            "--platform",
            "manylinux_2_34_aarch64",
            "--platform",
            "manylinux2014_aarch64",
            "--python-version",
            "3.11",
        )
        packages.append(str(fetch_tflite("arm64-cp311", arm)))
    library = build_delegate(tmp_path, "aarch64-linux-gnu-gcc")
    command = [str(here / "qemu-aarch64"), "-cpu", "cortex-a72", "-L", str(here / "root")]
    command += [str(here / "root/usr/bin/python3.11"), str(TESTS / "edgetpu_guest.py")]
    environment = {**os.environ, "PYTHONHOME": str(here / "root/usr"), "PYTHONPATH": ":".join(packages)}
    outcome = run_guest([*command, runtime, str(library), str(parts[1])], environment)
    assert outcome["well"]["frames"] == 4
    assert outcome["well"]["info"]["runtime"].startswith(runtime)
    assert {case: outcome[case]["error"] for case in FAULTS} == dict.fromkeys(FAULTS, "DelegateError")
    assert all(FAULTS[case] in outcome[case]["text"] for case in FAULTS)
    assert outcome["unplugged"]["frames"] == 2
    assert outcome["fallback-device"]["info"]["models"][1]["device"] == "cpu"
