"""The Edge TPU seen from outside: its library, the devices of this machine, and what keeps them from working.

Nothing here runs a model; `runtime` does. Devices are found in /sys, so that a missing library, driver or permission
can each be told apart: libedgetpu itself gives no reason when it makes no delegate.
"""

import ctypes
import importlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edge.errors import DelegateError

Kind = Literal["usb", "pci"]
LIBRARY: Final = "libedgetpu.so.1"
# The operator into which the compiler puts everything that the Edge TPU runs.
CUSTOM_OP: Final = "edgetpu-custom-op"
# Vendor and product of the USB accelerator, before and after the library has given it its firmware.
USB_IDS: Final = frozenset({("1a6e", "089a"), ("18d1", "9302")})
PCI_ID: Final = ("0x1ac1", "0x089a")
USB3_MBPS: Final = 5000
# `edgetpu[:usb|:pci][:N]`
_DEVICE: Final = re.compile(r"edgetpu(?::(?P<kind>usb|pci))?(?::(?P<index>\d+))?")
DOCS: Final = "docs/coral.md"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an Edge TPU cannot be used, and what mends it.

    Attributes:
        kind: library-missing, library-broken, no-device, no-driver, permission, refused, crash or hang.
        text: what there is; no full stop at its end.
        mend: what to do.
    """

    kind: str
    text: str
    mend: str


@dataclass(frozen=True, slots=True)
class EdgeTpu:
    """An Edge TPU of this machine.

    Attributes:
        kind: how it is connected.
        name: as the kernel calls it.
        node: the file that is opened to use it; None where the kernel has no driver for it.
        speed_mbps: of the USB connection, in Mbit/s; None on PCIe.
    """

    kind: Kind
    name: str
    node: Path | None
    speed_mbps: int | None = None

    def __str__(self) -> str:
        if self.speed_mbps is None:
            return f"{self.kind} {self.name}"
        slow = "" if self.speed_mbps >= USB3_MBPS else " (USB 2: slower than it could be)"
        return f"usb {self.name} at {self.speed_mbps} Mbit/s{slow}"


def is_edgetpu(device: str) -> bool:
    """Whether a device setting names an Edge TPU."""
    return device.startswith("edgetpu")


def delegate_options(device: str) -> dict[str, str]:
    """A device setting as libedgetpu's own `device` option; no option lets it take any.

    Raises:
        DelegateError: not of the form `edgetpu[:usb|:pci][:N]`.
    """
    kind, index = _parts(device)
    if index is None:
        return {"device": kind} if kind else {}
    return {"device": f"{kind}:{index}"}


def _parts(device: str) -> tuple[str, int | None]:
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise DelegateError(f"device {device!r}: expected cpu, or edgetpu[:usb|:pci][:N]")
    index = match["index"]
    return match["kind"] or "", None if index is None else int(index)


def devices(sysfs: Path = Path("/sys"), dev: Path = Path("/dev")) -> list[EdgeTpu]:
    """The Edge TPUs that this machine's kernel knows, PCIe first; the library's own order is not published."""
    found = []
    for path in sorted((sysfs / "bus/pci/devices").glob("*")):
        if (_read(path / "vendor"), _read(path / "device")) == PCI_ID:
            apex = next((entry.name for entry in (path / "apex").glob("apex_*")), "")
            found.append(EdgeTpu("pci", apex or path.name, dev / apex if apex else None))
    for path in sorted((sysfs / "bus/usb/devices").glob("*")):
        if (_read(path / "idVendor"), _read(path / "idProduct")) in USB_IDS:
            bus, number = int(_read(path / "busnum")), int(_read(path / "devnum"))
            node = dev / f"bus/usb/{bus:03}/{number:03}"
            found.append(EdgeTpu("usb", path.name, node, int(float(_read(path / "speed") or 0))))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def listed_by_pycoral() -> list[str] | None:
    """What pycoral lists, such as `usb /sys/bus/usb/devices/4-1`; None where pycoral is not installed. Never needed."""
    try:
        module = importlib.import_module("pycoral.utils.edgetpu")
        listed = module.list_edge_tpus()
    except (ImportError, AttributeError, OSError):  # not there, another project of that name, or without its library
        return None
    return [f"{entry['type']} {entry['path']}" for entry in listed]


def may_open(device: EdgeTpu) -> bool:
    """Whether this process may read and write the device."""
    return device.node is not None and os.access(device.node, os.R_OK | os.W_OK)


def load_library(name: str = "") -> ctypes.CDLL | Fault:
    """The library itself, or why it cannot be used.

    Args:
        name: its path; empty is `libedgetpu.so.1` where the system's linker finds it.
    """
    name = name or LIBRARY
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        reason = str(error)
        if reason.startswith(f"{name}: cannot open shared object file"):
            mend = f'install libedgetpu ({DOCS} says which package), or set model.edgetpu_library, or device = "cpu"'
            return Fault("library-missing", f"{name} is not installed", mend)
        mend = f"install a libedgetpu that was built for this system ({DOCS} says which package)"
        return Fault("library-broken", f"{name} cannot be loaded: {reason}", mend)
    if not hasattr(library, "tflite_plugin_create_delegate"):
        mend = f"install libedgetpu ({DOCS} says which package), and check model.edgetpu_library"
        return Fault("library-broken", f"{name} is no libedgetpu that this program can use: it makes no delegate", mend)
    return library


def library_version(name: str = "") -> str:
    """What the library says of itself, as in `BuildLabel(...), RuntimeVersion(14)`; empty if it does not."""
    library = load_library(name)
    if isinstance(library, Fault) or not hasattr(library, "edgetpu_version"):
        return ""
    library.edgetpu_version.restype = ctypes.c_char_p
    return str(library.edgetpu_version().decode(errors="replace"))


def find_fault(device: str, library: str = "", present: Sequence[EdgeTpu] | None = None) -> Fault | None:
    """Why a device cannot be used, as far as that can be seen without trying; None if nothing speaks against it.

    Args:
        device: `edgetpu[:usb|:pci][:N]`.
        library: as of `load_library`.
        present: the devices of this machine; None looks.
    """
    loaded = load_library(library)
    if isinstance(loaded, Fault):
        return loaded
    present = devices() if present is None else present
    wanted = wanted_of(device, present)
    if not wanted:
        there = f"there is only: {', '.join(map(str, present))}" if present else "none is connected"
        return Fault("no-device", f"this Edge TPU is not here: {there}", 'plug it in, or set model.device = "cpu"')
    without = [tpu for tpu in wanted if tpu.node is None]
    if len(without) == len(wanted):
        mend = f"install the gasket driver (gasket-dkms, {DOCS}) and restart"
        return Fault("no-driver", f"{without[0]} is on the PCIe bus, but no driver made /dev/apex_N of it", mend)
    closed = [tpu for tpu in wanted if tpu.node is not None and not may_open(tpu)]
    if len(closed) + len(without) == len(wanted):
        return permission_fault(closed[0])
    return None


def wanted_of(device: str, present: Sequence[EdgeTpu]) -> list[EdgeTpu]:
    """Those of the devices that are here that a setting may mean."""
    kind, index = _parts(device)
    fitting = [tpu for tpu in present if kind in ("", tpu.kind)]
    return fitting if index is None else fitting[index : index + 1]


def permission_fault(device: EdgeTpu, user: str = "") -> Fault:
    """A device that this process, or another user, may not open."""
    group = "plugdev" if device.kind == "usb" else "apex"
    again = "sudo systemctl restart edge-pose" if user else "log in again"
    mend = (
        f"put the udev rule of {DOCS} in place, add the user to the group ({group}): "
        f"sudo usermod -aG {group} {user or '$USER'}, plug the device anew, and {again}"
    )
    return Fault("permission", f"{device}: {user or 'this user'} may not open {device.node}", mend)


def create_delegate(load_delegate: Callable[[str, dict[str, str]], Any], device: str, library: str = "") -> object:
    """A delegate for an Interpreter; two of the same device share it.

    Args:
        load_delegate: the runtime's.
        device: `edgetpu[:usb|:pci][:N]`.
        library: as of `load_library`.

    Raises:
        DelegateError: says which of the things that can be wrong is.
    """
    options = delegate_options(device)
    loaded = load_library(library)
    if isinstance(loaded, Fault):
        raise error_of(device, loaded)
    try:
        return load_delegate(library or LIBRARY, options)
    except (ValueError, RuntimeError, OSError) as error:
        fault = find_fault(device, library)
        raise error_of(device, fault or _refusal(str(error))) from None


def _refusal(reason: str) -> Fault:
    said = reason.strip().splitlines()
    more = f" ({' '.join(said[1:])})" if len(said) > 1 else ""
    return Fault(
        "refused",
        f"the library did not open the Edge TPU, which is here and may be opened{more}",
        "end other programs that use it, then unplug it and plug it in again; on a hub, give the hub its own supply",
    )


def error_of(device: str, fault: Fault) -> DelegateError:
    """The fault as an error that names the device."""
    return DelegateError(f"device {device!r}: {fault.text}: {fault.mend}")
