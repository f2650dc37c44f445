"""Ctrl-C and other signals that end a command: quietly, soon, with the usual status, and with nothing left behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import eventually

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
