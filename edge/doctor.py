"""The command `doctor`: looks at the host as `run` would find it, and says for each fault the exact mend."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge import __version__, doctor_host, doctor_setup, validate
from edge.config import Settings
from edge.errors import ConfigError, EdgePoseError
from edge.finding import Finding, ok, problem
from edge.streams import as_utf8, write_stdout

WIDTH = 14


def doctor(config_file: Path | None, overrides: Mapping[str, Any], *, as_json: bool = False) -> int:
    """Run every check and print a line each, or one JSON document.

    Args:
        config_file: as for `run`; None is the system's, if there is one.
        overrides: settings of the command line.
        as_json: print `{"ok": ..., "version": ..., "checks": [...]}` instead of lines.

    Returns:
        1 if something would stop `run`, else 0.
    """
    findings = []
    for finding in examine(config_file, overrides):
        findings.append(finding)
        if not as_json:
            _print(finding)
    stopped = any(finding.state == "problem" for finding in findings)
    if as_json:
        checks = [msgspec.structs.replace(one, text=as_utf8(one.text), mend=as_utf8(one.mend)) for one in findings]
        document = {"ok": not stopped, "version": __version__, "checks": checks}
        write_stdout(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    else:
        problems = sum(finding.state == "problem" for finding in findings)
        warnings = sum(finding.state == "warning" for finding in findings)
        print(f"\nProblems that would stop `edge-pose run`: {problems}. Warnings: {warnings}.")
    return int(stopped)


def examine(config_file: Path | None, overrides: Mapping[str, Any]) -> Iterator[Finding]:
    """All findings, in the order in which faults build on each other."""
    yield from _guarded("Python", doctor_host.python)
    yield from _guarded("packages", doctor_host.packages)
    yield from _guarded("numpy", doctor_host.numpy_abi)
    try:
        loaded = validate.load(config_file, overrides)
    except EdgePoseError as error:
        yield problem("configuration", str(error), "correct it as it says; `edge-pose config check` looks again")
        loaded = None
    if loaded is not None:
        origins = sorted({origin for origin in loaded.origins.values() if origin != "default"})
        yield ok(
            "configuration", f"right; from {', '.join(origins)}" if origins else "right; everything at its default"
        )
        yield from _with_settings(loaded.settings)
    for name, check in doctor_host.MACHINE_CHECKS.items():
        yield from _guarded(name, check)
    yield from _guarded("service", doctor_setup.units)


def _with_settings(settings: Settings) -> Iterator[Finding]:
    for name, check in doctor_setup.CHECKS.items():
        yield from _guarded(name, lambda check=check: check(settings))  # type: ignore[misc]


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """One check that falls over must not hide what the others find."""
    try:
        yield from check()
    except ConfigError as error:
        yield problem(name, str(error), "correct the setting; `edge-pose config show` says where it comes from")
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is said
        yield Finding(name, "warning", f"could not be looked at: {error!r}", "")


def _print(finding: Finding) -> None:
    print(f"{finding.state:<8} {finding.check:<{WIDTH}} {finding.text}")
    if finding.mend:
        print(f"{'':<8} {'':<{WIDTH}} -> {finding.mend}")
    sys.stdout.flush()  # a camera may take ten seconds: what is known is shown before
