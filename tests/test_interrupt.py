"""Ctrl-C and other signals that end a command: quietly, soon, with the usual status, and with nothing left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from brokers import eventually, needs_mosquitto

from edge import runtime
from edge.runtime import load_runtime

AS_MODULE = ("-m", "edge")
AS_SCRIPT = ("-c", "import sys; from edge.__main__ import main; sys.exit(main())")


def start(*arguments, way=AS_MODULE, **more):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen([sys.executable, *way, *map(str, arguments)], **pipes)


def has_loaded(process, library):
    return library in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.parametrize("library", ["msgspec", "numpy", "cv2"])
@pytest.mark.parametrize("way", [AS_MODULE, AS_SCRIPT], ids=["module", "script"])
def test_ctrl_c_while_the_commands_are_imported_is_quiet(way, library):
    process = start("config", "check", way=way)
    assert eventually(lambda: has_loaded(process, library))
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=10)
    assert (process.returncode, out, said) == (130, "", "")


def test_a_background_job_goes_on_at_ctrl_c():
    process = start("config", "check", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert eventually(lambda: has_loaded(process, "numpy"))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "The settings are right.\n"


def test_ctrl_c_while_the_runtime_is_imported_does_not_make_it_missing(monkeypatch):
    def interrupted(_name):
        raise ImportError("initialization failed") from KeyboardInterrupt()  # what pybind11 makes of it

    monkeypatch.setattr(runtime.importlib, "import_module", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_runtime()


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid):
    with contextlib.suppress(OSError):  # it has just ended
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    return ""


def users_of(folder):
    """Processes that were started with this folder in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append(command_line(process.name))
    return found


@pytest.fixture
def benchmark(clip, tmp_path):
    """A benchmark, whose temporary files are in `tmp_path`, at the moment when its loop's process is being started."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    arguments = ("benchmark", "--quick", "--model", "lite", "--source", clip)
    process = start(*arguments, env=environment, start_new_session=True)
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def loop_of(benchmark):
    return next((child for child in children(benchmark.pid) if "benchmark_child" in command_line(child)), None)


@needs_mosquitto
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_benchmark_that_is_ended_leaves_nothing_behind(benchmark, tmp_path, number):
    assert eventually(
        lambda: loop_of(benchmark) and "numpy" in Path(f"/proc/{loop_of(benchmark)}/maps").read_text(), 60
    )
    assert any("mosquitto" in command_line(child) for child in children(benchmark.pid))
    if number == signal.SIGINT:
        os.killpg(benchmark.pid, number)  # a terminal tells everybody
    else:
        benchmark.send_signal(number)
    said = benchmark.communicate(timeout=20)[1]
    assert benchmark.returncode == 128 + number
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert eventually(lambda: users_of(tmp_path) == [], 2), users_of(tmp_path)


@needs_mosquitto
def test_the_loop_of_a_benchmark_that_was_killed_ends_quietly(benchmark):
    assert eventually(lambda: loop_of(benchmark), 60)
    loop, mosquitto = loop_of(benchmark), next(c for c in children(benchmark.pid) if "mosquitto" in command_line(c))
    benchmark.kill()
    said = benchmark.communicate(timeout=60)[1]  # which the loop's process has open, too
    os.kill(mosquitto, signal.SIGKILL)
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert eventually(lambda: not command_line(loop))


@needs_mosquitto
def test_nohup_holds_for_a_benchmark(clip, tmp_path):
    process = start(
        *("benchmark", "--quick", "--model", "lite", "--source", clip),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert eventually(lambda: loop_of(process), 60)
    process.send_signal(signal.SIGHUP)
    assert "Sustained" in process.communicate(timeout=120)[0]
    assert process.returncode == 0


@contextlib.contextmanager
def run_at_a_silent_stream():
    """`run` while it opens a stream that does not answer: its process, and the stream's end of the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"rtsp://127.0.0.1:{server.getsockname()[1]}/silent"
        process = start("run", "--source", source, "--broker", "mqtt://127.0.0.1:1")
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            yield process, connection


@pytest.mark.parametrize("later_s", [0.0, 0.05, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2])
def test_a_stream_that_fails_while_run_ends_does_not_disturb_it(later_s):
    with run_at_a_silent_stream() as (process, connection):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(later_s)
        connection.close()
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    assert "does not open" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_stream_does_not_answer_ends_run_as_at_any_other_time(number):
    with run_at_a_silent_stream() as (process, _):
        time.sleep(0.5)  # from here on FFmpeg waits for an answer
        start_s = time.monotonic()
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
    assert time.monotonic() - start_s < 2
    assert process.returncode == 0
    assert "stopped after 0 frames" in said
    assert "Traceback" not in said
    assert "does not open" not in said
