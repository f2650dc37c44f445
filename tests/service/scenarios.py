"""What a service must survive, driven in a booted Debian tree: scenarios.py [--quick] TREE CARGO [NAME...].

scripts/test-service makes both. Each scenario prints a line. They run in order, as the life of one device; names on the
command line leave out the others (the installation always runs).
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from device import UNIT, Device, furnish, start_parts
from machine import Machine
from scenarios_faults import (
    broker_away,
    broker_hangs,
    camera_away,
    camera_missing_at_start,
    clean_stop,
    clock_jumps,
    full_and_read_only,
    hung_process,
    killed_process,
    restarts_slow_down,
    wrong_configuration,
)
from scenarios_releases import (
    install_again,
    install_beside_picamera2,
    install_dry_run,
    install_from_nothing,
    second_camera,
    uninstall,
    upgrade,
    upgrade_to_never_ready,
    upgrade_to_truncated,
    upgrade_to_unloadable,
)
from scenarios_sandbox import nothing_is_written, sandbox_holds, units_are_sound

SCENARIOS: tuple[Callable[[Device], str], ...] = (
    install_dry_run,
    install_from_nothing,
    install_again,
    units_are_sound,
    sandbox_holds,
    nothing_is_written,
    hung_process,
    killed_process,
    restarts_slow_down,
    wrong_configuration,
    broker_away,
    broker_hangs,
    camera_away,
    camera_missing_at_start,
    full_and_read_only,
    clock_jumps,
    clean_stop,
    second_camera,
    upgrade,
    upgrade_to_truncated,
    upgrade_to_unloadable,
    upgrade_to_never_ready,
    uninstall,
    install_beside_picamera2,
)
# Left out by --quick: they wait, or say something that an ordinary change does not touch.
SLOW: frozenset[Callable[[Device], str]] = frozenset(
    {
        nothing_is_written,
        restarts_slow_down,
        broker_away,
        broker_hangs,
        camera_away,
        camera_missing_at_start,
        full_and_read_only,
        clock_jumps,
        clean_stop,
        upgrade_to_never_ready,
        install_beside_picamera2,
    }
)


def run_all(device: Device, scenarios: Sequence[Callable[[Device], str]]) -> int:
    """Run them in order and print a line each; returns how many failed."""
    failed = passed = 0
    for scenario in scenarios:
        start_s = time.monotonic()
        try:
            story = scenario(device)
            passed += 1
            print(f"ok      {time.monotonic() - start_s:5.1f} s  {scenario.__name__}: {story}", flush=True)
        except Exception as error:  # noqa: BLE001 -- the others are still run
            failed += 1
            print(f"FAILED  {time.monotonic() - start_s:5.1f} s  {scenario.__name__}: {error!r}", flush=True)
            print("    " + device.machine.journal(UNIT, "--lines=15").replace("\n", "\n    "), flush=True)
            if scenario is install_from_nothing:
                break
    print(f"{passed} passed, {failed} failed")
    return failed


def main() -> int:
    """Boot the tree and run the scenarios; returns 1 if one failed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("tree", type=Path)
    arguments.add_argument("cargo", type=Path)
    known = {scenario.__name__: scenario for scenario in SCENARIOS}
    arguments.add_argument("names", nargs="*", choices=[[], *known], metavar="name")
    given = arguments.parse_args()
    names = {*given.names, install_from_nothing.__name__} if given.names else set(known)
    left_out = SLOW if given.quick else frozenset()
    chosen = [scenario for scenario in SCENARIOS if scenario.__name__ in names and scenario not in left_out]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of Machine.__exit__, so that nothing is left running
    with Machine(given.tree, Path(tempfile.mkdtemp(prefix="edge-pose-machine-"))) as machine:
        furnish(machine, given.cargo)
        try:
            machine.boot()
        except AssertionError as error:
            print(f"SKIPPED scripts/test-service: systemd does not come up in a container here: {error}")
            return 0
        start_parts(machine)
        return int(run_all(Device(machine), chosen) > 0)


if __name__ == "__main__":
    sys.exit(main())
