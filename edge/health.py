"""How the machine is doing: memory, temperature, what holds the processor back. On any Linux, Raspberry Pi or not."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Bits of the Raspberry Pi firmware's `get_throttled`; those 16 places further up say that it happened since the start
# (Raspberry Pi documentation, vcgencmd).
THROTTLE_BITS: Final = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
SINCE_START: Final = 16
# Where the firmware's driver shows them; the folders between are named after the board's bus.
THROTTLE_FILES: Final = ("*/get_throttled", "*/*/get_throttled", "*/*/*/get_throttled")
# Names of thermal zones that measure the processor: the Pi's, x86's, and what other boards call theirs.
PROCESSOR_ZONES: Final = ("cpu-thermal", "x86_pkg_temp", "cpu_thermal", "soc-thermal", "acpitz")


def rss_mb(process: Path = Path("/proc/self")) -> float | None:
    """Resident memory of this process in MB (1e6 bytes); None where the kernel does not tell."""
    try:
        pages = int((process / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def temperature_c(zones: Path = Path("/sys/class/thermal")) -> float | None:
    """Temperature of the processor in degrees Celsius; None where nothing measures it."""
    found: dict[str, float] = {}
    for zone in sorted(zones.glob("thermal_zone*")):
        try:
            kind = (zone / "type").read_text().strip()
            found.setdefault(kind, int((zone / "temp").read_text()) / 1000)
        except (OSError, ValueError):
            continue  # a zone that is switched off answers with an error
    return next((found[kind] for kind in PROCESSOR_ZONES if kind in found), next(iter(found.values()), None))


def throttle_word(devices: Path = Path("/sys/devices/platform")) -> int | None:
    """The Raspberry Pi firmware's throttle bits as one number; None on other machines."""
    for pattern in THROTTLE_FILES:
        for path in sorted(devices.glob(pattern)):
            try:
                return int(path.read_text().strip(), 16)
            except (OSError, ValueError):
                continue
    return None


def throttled(word: int | None) -> list[str] | None:
    """What holds the processor back now, in words; empty is nothing, None is not known on this machine."""
    return None if word is None else _words(word)


def throttled_before(word: int) -> Sequence[str]:
    """What has held the processor back at some time since the machine started."""
    return _words(word >> SINCE_START)


def _words(bits: int) -> list[str]:
    return [meaning for bit, meaning in THROTTLE_BITS.items() if bits >> bit & 1]


def available_mb(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Memory that programs can still get, in MB (1e6 bytes), as the kernel estimates it; None where it does not."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return round(sizes[0] * 1024 / 1e6) if sizes else None
