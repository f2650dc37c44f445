"""Try the Edge TPU in a process of its own: a library made for another TFLite ends the process that loads it."""

import subprocess
import sys
from typing import Final

from edge.config import ModelSettings
from edge.edgetpu import DOCS, Fault, create_delegate, find_fault
from edge.errors import EdgePoseError
from edge.runtime import load_runtime

# A USB accelerator is given its firmware when it is first opened, which takes seconds.
TIMEOUT_S: Final = 30.0


def probe(model: ModelSettings, device: str, timeout_s: float = TIMEOUT_S) -> Fault | None:
    """Open the Edge TPU as `run` would, in a child process; None if that works.

    Args:
        model: its runtime and edgetpu_library are used.
        device: `edgetpu[:usb|:pci][:N]`.
        timeout_s: how long opening may take.
    """
    fault = find_fault(device, model.edgetpu_library)
    if fault and fault.kind.startswith("library"):
        return fault
    command = [sys.executable, "-m", "edge.edgetpu_probe", model.runtime, device, model.edgetpu_library]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        mend = "unplug the Edge TPU and plug it in again; on a hub, give the hub its own supply"
        return Fault("hang", f"opening the Edge TPU takes longer than {timeout_s:.0f} s", mend)
    if done.returncode < 0:
        mend = f"install a libedgetpu that was built for this TFLite runtime ({DOCS} says which go together)"
        return Fault("crash", f"libedgetpu ends the process (signal {-done.returncode})", mend)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return fault or Fault("refused", said[-1] if said else "it does not open", f"see {DOCS}")
    return None


def main(runtime: str = "auto", device: str = "edgetpu", library: str = "") -> int:
    """The child: 0 if the device opens. By hand: `python -m edge.edgetpu_probe [RUNTIME [DEVICE [LIBRARY]]]`."""
    try:
        create_delegate(load_runtime(runtime).module.load_delegate, device, library)
    except EdgePoseError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{device} opens")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
