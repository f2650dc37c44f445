"""What `doctor` finds out about the machine and its Python. Right on a machine that is no Raspberry Pi, too."""

import importlib
import importlib.metadata
import platform
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from edge import health
from edge.camera_environment import SYSTEM_PACKAGES
from edge.camera_list import picamera2_problem
from edge.errors import MissingDependencyError
from edge.finding import Finding, ask, ok, problem, warning
from edge.runtime import load_runtime

# Distributions that `run` cannot do without, and the modules that they bring.
PACKAGES: Final = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "paho-mqtt": "paho.mqtt.client",
    "msgspec": "msgspec",
}
# A board throttles itself at 80 °C, and again at 85 °C (Raspberry Pi documentation, frequency management).
HOT_C: Final = 80.0
# The process holds about 150 MB with the lite and 250 MB with the heavy model; below this the system begins to swap.
LITTLE_MEMORY_MB: Final = 300
SLOW_GOVERNORS: Final = ("powersave", "conservative")


def python() -> Iterator[Finding]:
    """The interpreter and where it runs."""
    bits = struct.calcsize("P") * 8
    where = f"Python {platform.python_version()}, {platform.machine()}, {bits}-bit, in {sys.prefix}; {board()}"
    if bits != 64:
        mend = "write the 64-bit Raspberry Pi OS to the card: the TFLite runtime has no 32-bit wheels"
        yield problem("Python", where, mend)
    else:
        yield ok("Python", where)


def board() -> str:
    """The machine's name, as its firmware gives it."""
    for path in ("/proc/device-tree/model", "/sys/class/dmi/id/product_name"):
        try:
            name = Path(path).read_text(errors="replace").strip("\0 \n")
        except OSError:
            continue
        if name:
            return name
    return "a machine without a name"


def packages() -> Iterator[Finding]:
    """Whether everything can be imported, and its versions."""
    pip = f"{sys.executable} -m pip install --force-reinstall"
    versions = []
    for distribution, module in PACKAGES.items():
        try:
            importlib.import_module(module)
            versions.append(f"{distribution} {importlib.metadata.version(distribution)}")
        except ImportError as error:
            yield problem("packages", f"{distribution} cannot be imported: {error}", f"{pip} {distribution}")
    try:
        runtime = load_runtime()
        versions.append(f"{runtime.name} {runtime.version}")
    except MissingDependencyError as error:
        yield problem("packages", str(error), f"{pip} ai-edge-litert")
    yield ok("packages", ", ".join(versions))


def numpy_abi() -> Iterator[Finding]:
    """Whether picamera2's compiled parts fit this environment's numpy."""
    import numpy as np

    if not (SYSTEM_PACKAGES / "picamera2").is_dir():
        yield ok("numpy", f"{np.__version__}; there is no picamera2 that it would have to fit")
        return
    fault = picamera2_problem()
    if "another numpy" in fault:
        text, _, mend = fault.rpartition("): ")
        yield warning("numpy", f"{np.__version__}: {text})", mend)
    else:
        yield ok("numpy", f"{np.__version__}, as picamera2 wants it" if not fault else np.__version__)


def memory() -> Iterator[Finding]:
    """Memory that is left."""
    free_mb = health.available_mb()
    if free_mb is None:
        yield ok("memory", "this kernel does not tell")
    elif free_mb < LITTLE_MEMORY_MB:
        mend = 'stop other programs (`ps aux --sort -rss | head`), or set model.model to "lite"'
        yield warning("memory", f"{free_mb:.0f} MB are left, {LITTLE_MEMORY_MB} should be", mend)
    else:
        yield ok("memory", f"{free_mb:.0f} MB are left")


def temperature() -> Iterator[Finding]:
    """How hot the processor is."""
    celsius = health.temperature_c()
    if celsius is None:
        yield ok("temperature", "nothing measures it here")
    elif celsius >= HOT_C:
        yield warning(
            "temperature", f"{celsius:.0f} °C; from {HOT_C:.0f} °C a Pi slows down", "fit a heat sink or a fan"
        )
    else:
        yield ok("temperature", f"{celsius:.0f} °C")


def throttling() -> Iterator[Finding]:
    """What the Pi's firmware says about its supply and heat."""
    word = health.throttle_word()
    if word is None:
        yield ok("throttling", "no throttle bits: no Raspberry Pi, or its firmware driver is missing")
        return
    now, before = health.throttled(word) or [], health.throttled_before(word)
    if not now and not before:
        yield ok("throttling", "never since the start")
        return
    said = f"now: {', '.join(now) or 'nothing'}; since the start: {', '.join(before) or 'nothing'} (0x{word:x})"
    supply = "under-voltage" in [*now, *before]
    mend = "use the power supply made for this board, and a short thick cable" if supply else "fit a heat sink or a fan"
    yield warning("throttling", said, mend)


def governor(processors: Path = Path("/sys/devices/system/cpu")) -> Iterator[Finding]:
    """Whether the processor may run at full speed."""
    files = sorted(processors.glob("cpu[0-9]*/cpufreq/scaling_governor"))
    governors = sorted({path.read_text().strip() for path in files})
    slow = [name for name in governors if name in SLOW_GOVERNORS]
    if slow:
        mend = "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield warning("governor", f"{', '.join(slow)} keeps the processor slow", mend)
    else:
        yield ok("governor", ", ".join(governors) or "this machine does not change its frequency")


def clock() -> Iterator[Finding]:
    """Whether the clock is right: every message carries the time of its picture."""
    answer = ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if answer == "yes":
        yield ok("clock", "synchronised")
    elif answer == "no":
        mend = "sudo timedatectl set-ntp true"
        yield warning("clock", "not synchronised: messages may carry wrong times", mend)
    else:
        yield ok("clock", "nobody here can tell whether it is synchronised (no timedatectl)")


MACHINE_CHECKS: Final[dict[str, Callable[[], Iterator[Finding]]]] = {
    "memory": memory,
    "temperature": temperature,
    "throttling": throttling,
    "governor": governor,
    "clock": clock,
}
