"""Try the Edge TPU in a process of its own: a library made for another TFLite ends the process that loads it."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from edge.config import ModelSettings
from edge.edgetpu import DOCS, Fault, create_delegate, find_fault, library_version, listed_by_pycoral
from edge.errors import EdgePoseError
from edge.runtime import load_runtime

# A USB accelerator is given its firmware when it is first opened, which takes seconds.
TIMEOUT_S: Final = 30.0


def run_apart(module: Sequence[str], what: str, timeout_s: float, given: bytes = b"") -> str | Fault:
    """Run a module of ours that uses the Edge TPU as a child process; what it printed, or how it went wrong.

    Args:
        module: its name and arguments.
        what: what it does, for the fault's text.
        timeout_s: how long it may take.
        given: its standard input.
    """
    command = [sys.executable, "-m", *module]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        mend = "unplug the Edge TPU and plug it in again; on a hub, give the hub its own supply"
        return Fault("hang", f"{what} takes longer than {timeout_s:.0f} s: the Edge TPU hangs", mend)
    if done.returncode < 0:
        mend = f"install a libedgetpu that was built for this TFLite runtime ({DOCS} says which go together)"
        return Fault("crash", f"{what} ends the process (signal {-done.returncode}), as a wrong libedgetpu does", mend)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return Fault("refused", said[-1] if said else "it does not open", f"see {DOCS}")
    return done.stdout.decode(errors="replace").strip()


def probe(model: ModelSettings, device: str, timeout_s: float = TIMEOUT_S) -> str | Fault:
    """Open the Edge TPU as `run` would, in a child process; what there is to say of it, or why it cannot be used.

    Args:
        model: its runtime and edgetpu_library are used.
        device: `edgetpu[:usb|:pci][:N]`.
        timeout_s: how long opening may take.
    """
    fault = find_fault(device, model.edgetpu_library)
    if fault and fault.kind.startswith("library"):
        return fault
    module = ["edge.edgetpu_probe", model.runtime, device, model.edgetpu_library]
    found = run_apart(module, "opening the Edge TPU", timeout_s)
    # What is seen from outside says more than a library that gives no reason.
    return fault if fault and isinstance(found, Fault) and found.kind == "refused" else found


def main(runtime: str = "auto", device: str = "edgetpu", library: str = "") -> int:
    """The child: 0 if the device opens. By hand: `python -m edge.edgetpu_probe [RUNTIME [DEVICE [LIBRARY]]]`."""
    try:
        chosen = load_runtime(runtime)
        create_delegate(chosen.module.load_delegate, device, library)
    except EdgePoseError as error:
        print(error, file=sys.stderr)
        return 1
    listed = listed_by_pycoral()
    sees = "" if listed is None else f"; pycoral lists {', '.join(listed) or 'none'}"
    version = library_version(library) or "a libedgetpu that does not say its version"
    print(f"{device} opens, with {version} and {chosen.name} {chosen.version}{sees}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
