"""The units and the scripts that install them, as far as they can be judged without booting a system."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge import broker, errors

CHECKOUT = Path(__file__).resolve().parents[1]
UNITS = sorted((CHECKOUT / "systemd").glob("*.service"))
LARGEST_EXPOSURE = 1.7
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def values(unit, key):
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(f"{key}=")]


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_sandbox_scores_well(unit):
    done = run(
        "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={LARGEST_EXPOSURE * 10:.0f}", unit
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    exposure = float(re.findall(r"exposure level for .*: ([\d.]+)", done.stdout)[0])
    assert 0 < exposure <= LARGEST_EXPOSURE


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit, tmp_path):
    # As installed, but for the program, which is not there without an installation.
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    done = run("systemd-analyze", "verify", "--man=no", copy)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "edge-pose" in line]
    assert complaints == []


def test_the_template_is_the_unit_but_for_the_name():
    unit, template = (CHECKOUT / "systemd" / name for name in ("edge-pose.service", "edge-pose@.service"))
    here = [line for line in unit.read_text().splitlines() if line and not line.startswith("#")]
    there = [line for line in template.read_text().splitlines() if line and not line.startswith("#")]
    as_unit = [line.replace("edge-pose-%i", "edge-pose").replace("%i.toml", "config.toml") for line in there]
    assert [line.replace(", camera %i", "") for line in as_unit] == here


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_says_what_the_code_means(unit):
    statuses = values(unit, "RestartPreventExitStatus")[0].split()
    assert statuses == [str(errors.UsageError.exit_status), str(errors.ConfigError.exit_status)]
    assert values(unit, "LoadCredential")[0].startswith(f"{broker.CREDENTIAL}:")
    assert values(unit, "SetCredential")[0].startswith(f"{broker.CREDENTIAL}:")
    assert values(unit, "Type") == ["notify"]
    assert int(values(unit, "TimeoutStopSec")[0]) >= 3
    devices = {value.split()[0] for value in values(unit, "DeviceAllow")}
    assert {"char-video4linux", "char-media", "char-dma_heap", "char-usb_device"} <= devices


def install_with(tmp_path, architecture, *arguments):
    """scripts/install on a system whose dpkg says what we want; --dry-run, so that nothing is touched."""
    (tmp_path / "dpkg").write_text(f"#!/bin/sh\necho {architecture}\n")
    (tmp_path / "dpkg").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return run(CHECKOUT / "scripts" / "install", "--dry-run", *arguments, env=environment)


def test_a_32_bit_system_is_told_what_is_missing(tmp_path):
    done = install_with(tmp_path, "armhf")
    assert done.returncode == 1
    assert "32-bit" in done.stderr
    assert "ai-edge-litert" in done.stderr
    assert "64-bit Raspberry Pi OS" in done.stderr


def supported():
    system = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return system.get("VERSION_CODENAME") in ("bookworm", "trixie") and shutil.which("systemctl") is not None


@pytest.mark.skipif(not supported(), reason="this is no Bookworm or Trixie with systemd")
def test_a_dry_run_names_every_step_and_does_none():
    before = Path("/opt/edge-pose").exists(), Path("/etc/edge-pose").exists()
    done = run(CHECKOUT / "scripts" / "install", "--dry-run")
    assert done.returncode == 0, done.stderr
    for step in ("venv", "/etc/edge-pose", "edge-pose.service", "systemd-sysusers", "systemctl enable"):
        assert step in done.stdout, step
    assert (Path("/opt/edge-pose").exists(), Path("/etc/edge-pose").exists()) == before


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_scripts_explain_themselves_and_refuse_what_they_do_not_know(script):
    explained = run(CHECKOUT / "scripts" / script, "--help")
    assert explained.returncode == 0
    assert "--dry-run" in explained.stdout
    refused = run(CHECKOUT / "scripts" / script, "--frobnicate")
    assert refused.returncode == 1
    assert "--frobnicate" in refused.stderr


def test_a_missing_wheelhouse_is_said(tmp_path):
    done = run(CHECKOUT / "scripts" / "install", "--dry-run", "--offline", tmp_path / "nothing")
    assert done.returncode == 1
    assert "there is no such folder" in done.stderr
