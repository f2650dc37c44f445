"""The facts about a machine: a Raspberry Pi made of files, this machine, and what is warned about."""

import os
import platform

import msgspec
import pytest

from edge.benchmark_board import Machine, usable_cores, warnings
from edge.benchmark_result import State, Sustained

STEADY = Sustained(duration_s=60.0, moments=[], slowdown=0.02)
THROTTLED = Sustained(duration_s=60.0, moments=[], slowdown=0.3, throttled=["throttled"])

CPU = "sys/devices/system/cpu"
PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\nprocessor\t: 1\nCPU part\t: 0xd08\n",
    "proc/meminfo": "MemTotal:        3884360 kB\nMemFree:  100 kB\nMemAvailable:    3344360 kB\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    f"{CPU}/cpu0/cpufreq/scaling_governor": "ondemand\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "ondemand\n",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    f"{CPU}/cpu1/cpufreq/scaling_cur_freq": "1800000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61834\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


@pytest.fixture
def machine(tmp_path):
    """A function that makes a machine out of files."""

    def make(files: dict[str, str]) -> Machine:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return Machine(tmp_path)

    return make


def board(machine: Machine):
    return machine.board("ai-edge-litert 2.3.0", machine.state(), machine.state())


def test_a_raspberry_pi_is_known_by_its_files(machine):
    pi = board(machine(PI_4))
    assert pi.model == "Raspberry Pi 4 Model B Rev 1.5"
    assert pi.processor == "Cortex-A72"
    assert pi.system == "Debian GNU/Linux 12 (bookworm)"
    assert pi.governors == ["ondemand"]
    assert pi.memory_mb == 3978
    assert pi.before.temperature_c == pytest.approx(61.834)
    assert pi.before.frequency_mhz == 1800
    assert pi.before.throttled == ["under-voltage", "throttled"]
    assert pi.before.throttled_before == ["under-voltage", "throttled"]


def test_an_empty_machine_says_unknown_and_invents_nothing(machine, monkeypatch):
    monkeypatch.setenv("PATH", "")
    state = machine({}).state()
    assert (state.temperature_c, state.throttled, state.throttled_before) == (None, None, None)
    assert (state.frequency_mhz, state.available_mb) == (None, None)
    empty = board(machine({}))
    assert (empty.model, empty.governors, empty.memory_mb) == ("unknown machine", None, None)
    assert empty.processor == platform.machine()


def test_this_machine_is_described():
    here = board(Machine())
    assert here.cores == usable_cores() == len(os.sched_getaffinity(0))
    assert here.bits == 64
    assert here.kernel == platform.release()
    assert here.memory_mb > 100
    assert here.before.available_mb < here.memory_mb
    assert {"numpy", "msgspec"} <= set(here.packages)


def test_a_pc_is_known_by_its_firmware(machine):
    pc = machine({"sys/class/dmi/id/sys_vendor": "Dell Inc.\n", "sys/class/dmi/id/product_name": "OptiPlex\n"})
    assert pc.model() == "Dell Inc. OptiPlex"


def test_an_unknown_arm_core_keeps_its_number(machine):
    assert machine({"proc/cpuinfo": "CPU part\t: 0xabc\n"}).processor() == "Arm part 0xabc"


def test_without_the_drivers_file_the_firmwares_tool_is_asked(machine, tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncase "$1" in get_throttled) echo throttled=0x80008;; measure_temp) echo "temp=48.7\'C";; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    state = machine({}).state()
    assert state.throttled == state.throttled_before == ["soft temperature limit"]
    assert state.temperature_c == 48.7


def test_a_firmware_tool_that_fails_is_no_error(machine, tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho VCHI initialization failed >&2\nexit 255\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    assert machine({}).state().throttled is None


def test_a_governor_that_saves_power_is_warned_about_with_the_command_that_mends_it(machine):
    found = warnings(board(machine(PI_4)), STEADY)
    assert any("ondemand" in text and "echo performance | sudo tee" in text for text in found)


def test_a_throttled_board_is_warned_about(machine):
    found = warnings(board(machine(PI_4)), STEADY)
    assert any(
        "held back while this ran: under-voltage, throttled" in text and "power supply" in text for text in found
    )


def test_throttling_in_the_middle_of_the_run_is_warned_about(machine):
    word = "sys/devices/platform/soc/soc:firmware/get_throttled"
    cool = board(machine({**PI_4, word: "0", f"{CPU}/cpu0/cpufreq/scaling_governor": "performance"}))
    cool = msgspec.structs.replace(cool, governors=["performance"])
    assert warnings(cool, STEADY) == []
    (text,) = warnings(cool, THROTTLED)
    assert "held back while this ran: throttled" in text
    assert "heat sink" in text


def test_throttling_of_the_past_is_told_apart(machine):
    past = board(machine({**PI_4, "sys/devices/platform/soc/soc:firmware/get_throttled": "10000"}))
    texts = warnings(msgspec.structs.replace(past, governors=["performance"]), STEADY)
    assert texts == ["Since it was started, the board has been held back before: under-voltage."]


def test_a_slowdown_is_told_where_the_machine_says_nothing_of_throttling(machine):
    quiet = board(machine({"proc/cpuinfo": "model name\t: Some CPU\n"}))
    quiet = msgspec.structs.replace(quiet, before=State(), after=State())
    (text,) = warnings(quiet, msgspec.structs.replace(STEADY, slowdown=0.25))
    assert "25% slower at the end" in text
