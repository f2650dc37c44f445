"""The Edge TPU from outside: the devices of a made-up /sys, the library, what pycoral lists, the probe."""

import os
import sys
import types

import pytest
from edgetpu_parts import build_delegate

from edge import edgetpu, edgetpu_probe
from edge.cli import main
from edge.config import ModelSettings
from edge.edgetpu import EdgeTpu, delegate_options, devices, find_fault, may_open
from edge.errors import DelegateError
from edge.runtime import load_runtime


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_DELEGATE", raising=False)
    return str(build_delegate(tmp_path))


def add(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def machine(tmp_path):
    """A /sys and /dev with a USB accelerator, one on PCIe with its driver, one without, and other things."""
    sysfs, dev = tmp_path / "sys", tmp_path / "dev"
    add(sysfs / "bus/usb/devices/2-1", idVendor="18d1", idProduct="9302", busnum=2, devnum=7, speed=5000)
    add(sysfs / "bus/usb/devices/1-1.3", idVendor="1a6e", idProduct="089a", busnum=1, devnum=12, speed=480)
    add(sysfs / "bus/usb/devices/1-2", idVendor="046d", idProduct="c077", busnum=1, devnum=3, speed=12)
    add(sysfs / "bus/usb/devices/2-1:1.0", bInterfaceClass="ff")
    add(sysfs / "bus/pci/devices/0001:01:00.0", vendor="0x1ac1", device="0x089a")
    (sysfs / "bus/pci/devices/0001:01:00.0/apex/apex_0").mkdir(parents=True)
    add(sysfs / "bus/pci/devices/0002:01:00.0", vendor="0x1ac1", device="0x089a")
    add(sysfs / "bus/pci/devices/0000:00:00.0", vendor="0x14e4", device="0x2712")
    add(dev / "bus/usb/002", **{"007": ""})
    (dev / "apex_0").write_text("")
    return sysfs, dev


def test_devices_are_found_with_or_without_a_driver(machine):
    sysfs, dev = machine
    found = devices(sysfs, dev)
    assert [(tpu.kind, tpu.name, tpu.node) for tpu in found] == [
        ("pci", "apex_0", dev / "apex_0"),
        ("pci", "0002:01:00.0", None),
        ("usb", "1-1.3", dev / "bus/usb/001/012"),
        ("usb", "2-1", dev / "bus/usb/002/007"),
    ]
    assert str(found[2]) == "usb 1-1.3 at 480 Mbit/s (USB 2: slower than it could be)"
    assert str(found[3]) == "usb 2-1 at 5000 Mbit/s"
    assert [may_open(tpu) for tpu in found] == [True, False, False, True]
    assert devices(sysfs / "none", dev) == []


@pytest.mark.parametrize(
    ("device", "options"),
    [
        ("edgetpu", {}),
        ("edgetpu:1", {"device": ":1"}),
        ("edgetpu:usb", {"device": "usb"}),
        ("edgetpu:pci", {"device": "pci"}),
        ("edgetpu:usb:0", {"device": "usb:0"}),
        ("edgetpu:pci:12", {"device": "pci:12"}),
    ],
)
def test_settings_become_the_options_that_libedgetpu_takes(device, options):
    assert delegate_options(device) == options


def test_a_device_of_another_form_is_refused():
    for device in ("edgetpu:", "edgetpu:spi", "edgetpu:usb:x", "gpu"):
        with pytest.raises(DelegateError, match="expected cpu, or edgetpu"):
            delegate_options(device)


def test_each_fault_is_told_from_the_others(machine, library):
    present = devices(*machine)
    _, orphan, slow, usb = present
    kinds = {
        "none": find_fault("edgetpu", library, []),
        "usb only": find_fault("edgetpu:pci", library, [usb]),
        "second": find_fault("edgetpu:usb:2", library, present),
        "no driver": find_fault("edgetpu:pci", library, [orphan]),
        "closed": find_fault("edgetpu:usb", library, [slow]),
        "library": find_fault("edgetpu", "/nonexistent/libedgetpu.so.1", present),
    }
    assert {name: fault and fault.kind for name, fault in kinds.items()} == {
        "none": "no-device",
        "usb only": "no-device",
        "second": "no-device",
        "no driver": "no-driver",
        "closed": "permission",
        "library": "library-missing",
    }
    assert "none is connected" in kinds["none"].text
    assert "usermod -aG plugdev" in kinds["closed"].mend
    assert "gasket-dkms" in kinds["no driver"].mend
    for device in ("edgetpu", "edgetpu:usb", "edgetpu:usb:1", "edgetpu:pci:0", "edgetpu:0"):
        assert find_fault(device, library, present) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a file that another user may not open")
def test_permission_is_that_of_the_user_who_runs(machine):
    """In a child that has given up root."""
    node = machine[1] / "apex_0"
    node.chmod(0o660)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setuid(65534)
        os._exit(may_open(EdgeTpu("pci", "apex_0", node)))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert may_open(EdgeTpu("pci", "apex_0", node))


def test_the_library_says_its_version(library):
    assert edgetpu.library_version(library) == "BuildLabel(test), RuntimeVersion(14)"
    assert edgetpu.library_version("/nonexistent") == ""


def test_pycorals_listing_is_used_where_it_is_and_never_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycoral", None)
    monkeypatch.setitem(sys.modules, "pycoral.utils.edgetpu", None)
    assert edgetpu.listed_by_pycoral() is None
    module = types.ModuleType("pycoral.utils.edgetpu")
    module.list_edge_tpus = lambda: [{"type": "usb", "path": "/sys/bus/usb/devices/4-1"}]
    monkeypatch.setitem(sys.modules, "pycoral.utils.edgetpu", module)
    assert edgetpu.listed_by_pycoral() == ["usb /sys/bus/usb/devices/4-1"]
    # PyPI's pycoral is another project: it has no such function.
    monkeypatch.setitem(sys.modules, "pycoral.utils.edgetpu", types.ModuleType("pycoral.utils.edgetpu"))
    assert edgetpu.listed_by_pycoral() is None


def test_the_delegate_gets_the_options(library, tmp_path, monkeypatch):
    told = tmp_path / "told"
    monkeypatch.setenv("TEST_DELEGATE_LOG", str(told))
    load_delegate = load_runtime("ai-edge-litert").module.load_delegate
    edgetpu.create_delegate(load_delegate, "edgetpu:usb:1", library)
    edgetpu.create_delegate(load_delegate, "edgetpu", library)
    assert told.read_text().split() == ["device=usb:1", "created", "created"]


@pytest.mark.parametrize(
    ("mode", "kind"), [("", None), ("crash", "crash"), ("hang-create", "hang"), ("refuse-create", "no-device")]
)
def test_the_probe_survives_whatever_the_library_does(library, monkeypatch, mode, kind):
    monkeypatch.setenv("TEST_DELEGATE", mode)
    model = ModelSettings(edgetpu_library=library)
    limit_s = 3.0 if mode == "hang-create" else 60.0
    found = edgetpu_probe.probe(model, "edgetpu", limit_s)
    if kind is None:
        assert found.startswith("edgetpu opens, with BuildLabel(test), RuntimeVersion(14) and ")
    else:
        assert found.kind == kind


def test_switching_device_is_one_setting_and_a_wrong_precision_is_a_setting_too(capsys, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[model]\ndevice = "edgetpu:usb"\n')
    assert main(["config", "check", "--config", str(config)]) == 0
    config.write_text('[model]\ndevice = "edgetpu:usb"\nprecision = "float16"\n')
    assert main(["config", "check", "--config", str(config)]) == 78
    assert "runs int8-full only" in capsys.readouterr().err
    config.write_text('[model]\ndevice = "edgetpu:spi"\n')
    assert main(["config", "check", "--config", str(config)]) == 78
    assert "not of the expected form" in capsys.readouterr().err
