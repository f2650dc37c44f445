"""The facts about a machine that a benchmark's figures belong to. Linux, whether a Raspberry Pi or not."""

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from edge import health
from edge.benchmark_result import Board, State, Sustained

# "CPU part" in /proc/cpuinfo for implementer 0x41 (Arm's Main ID Register, MIDR_EL1.PartNum): the cores of Pi 2 to 5.
ARM_CORES: Final = {"0xd03": "Cortex-A53", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
PACKAGES: Final = ("numpy", "opencv-python-headless", "msgspec", "paho-mqtt")
VCGENCMD_TIMEOUT_S: Final = 2.0
# What does nothing else and is cool stays within this share of its first rate.
STEADY: Final = 0.1


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look: the root of the file system, another one in tests."""

    root: Path = Path("/")

    def read(self, path: str) -> str | None:
        """A small file's text without the zeros and blanks round it; None where there is none, or nothing in it."""
        try:
            return (self.root / path).read_text(errors="replace").strip("\0 \n\t") or None
        except OSError:
            return None

    def state(self) -> State:
        """How the machine is now."""
        word = health.throttle_word(self.root / "sys/devices/platform")
        if word is None:
            word = _vcgencmd_throttled()
        return State(
            temperature_c=self.temperature_c(),
            throttled=health.throttled(word),
            throttled_before=None if word is None else list(health.throttled_before(word)),
            frequency_mhz=self.frequency_mhz(),
            available_mb=health.available_mb(self.root / "proc/meminfo"),
        )

    def temperature_c(self) -> float | None:
        """Of the processor, in degrees Celsius."""
        found = health.temperature_c(self.root / "sys/class/thermal")
        return _vcgencmd_temperature_c() if found is None else found

    def frequency_mhz(self) -> float | None:
        """The highest of the cores' present frequencies, as the kernel's governor has set them."""
        found = [self.read(f"sys/devices/system/cpu/{cpu}/cpufreq/scaling_cur_freq") for cpu in self._cpus()]
        frequencies = [int(text) / 1000 for text in found if text and text.isdecimal()]
        return max(frequencies, default=None)

    def governors(self) -> list[str] | None:
        """The frequency governors in force, each once; None where the machine has none that can be seen."""
        found = (self.read(f"sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor") for cpu in self._cpus())
        return sorted({governor for governor in found if governor}) or None

    def _cpus(self) -> list[str]:
        return sorted(path.name for path in (self.root / "sys/devices/system/cpu").glob("cpu[0-9]*"))

    def model(self) -> str:
        """What the machine calls itself: a board's device tree, a PC's firmware."""
        board = self.read("proc/device-tree/model")
        maker, product = (self.read(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
        return board or " ".join(filter(None, (maker, product))) or "unknown machine"

    def processor(self) -> str:
        """The name of the processor's cores."""
        text = self.read("proc/cpuinfo") or ""
        named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if named:
            return named[1]
        parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\S+)$", text, re.MULTILINE))
        return ", ".join(ARM_CORES.get(part, f"Arm part {part}") for part in parts) or platform.machine()

    def system(self) -> str:
        """The operating system's name."""
        named = re.search(r'^PRETTY_NAME="?([^"\n]+)', self.read("etc/os-release") or "", re.MULTILINE)
        return named[1] if named else platform.system()

    def memory_mb(self) -> float | None:
        """All memory, in MB (1e6 bytes)."""
        found = re.search(r"^MemTotal:\s+(\d+) kB", self.read("proc/meminfo") or "", re.MULTILINE)
        return round(int(found[1]) * 1024 / 1e6) if found else None

    def board(self, runtime: str, before: State, after: State) -> Board:
        """Everything about the machine, with its state before and after the measurements."""
        bits: Literal[32, 64] = 64 if sys.maxsize > 2**32 else 32
        return Board(
            model=self.model(),
            processor=self.processor(),
            system=self.system(),
            kernel=platform.release(),
            machine=platform.machine(),
            bits=bits,
            cores=usable_cores(),
            governors=self.governors(),
            memory_mb=self.memory_mb(),
            python=platform.python_version(),
            runtime=runtime,
            packages={name: metadata.version(name) for name in PACKAGES if _installed(name)},
            before=before,
            after=after,
        )


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def warnings(board: Board, run: Sustained) -> list[str]:
    """Why the figures may be lower than what the board can do, in sentences that say what to do.

    Args:
        board: the machine.
        run: the sustained run.
    """
    found = []
    if board.governors and board.governors != ["performance"]:
        found.append(
            f"The frequency governor is {' and '.join(board.governors)}, not performance: short pauses lower the "
            "clock, and figures vary. For the benchmark: "
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    states = [board.before.throttled, run.throttled, board.after.throttled]
    now = dict.fromkeys(word for state in states for word in state or ())
    if now:
        found.append(f"The processor was held back while this ran: {', '.join(now)}. {_mend(list(now))}")
    elif run.slowdown > STEADY:
        found.append(
            f"The loop was {run.slowdown:.0%} slower at the end of the sustained run than at its start: the processor "
            "got too warm, or something else ran as well. Look at the temperature, end other programs, and try again."
        )
    earlier = [word for word in board.before.throttled_before or () if word not in now]
    if earlier:
        found.append(f"Since it was started, the board has been held back before: {', '.join(earlier)}.")
    if board.bits == 32:
        found.append("This is a 32-bit Python: the fast models need 64 bits. Install the 64-bit Raspberry Pi OS.")
    return found


def _mend(words: list[str]) -> str:
    if "under-voltage" in words:
        return "Use the board's own power supply and a short, thick cable."
    return "Give the board a heat sink or a fan, or lower pipeline.max_fps."


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _vcgencmd(*arguments: str) -> str:
    """The answer of the Raspberry Pi firmware's tool; empty on other machines."""
    if shutil.which("vcgencmd") is None:
        return ""
    try:
        done = subprocess.run(
            ("vcgencmd", *arguments), capture_output=True, text=True, timeout=VCGENCMD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _vcgencmd_throttled() -> int | None:
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", _vcgencmd("get_throttled"))
    return int(found[1], 16) if found else None


def _vcgencmd_temperature_c() -> float | None:
    found = re.search(r"temp=([0-9.]+)", _vcgencmd("measure_temp"))
    return float(found[1]) if found else None
