"""What `doctor` finds out about what the settings name: camera, accelerator, broker, and the service."""

import os
import pwd
import stat
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from edge import doctor_models, edgetpu
from edge.broker import SERVICE_PASSWORD
from edge.camera import open_source, redact
from edge.camera_list import DMA_HEAPS, list_cameras
from edge.config import MqttSettings, Settings
from edge.config_load import SYSTEM_CONFIG
from edge.edgetpu_probe import probe
from edge.errors import (
    BrokerError,
    BrokerRefusedError,
    MissingDependencyError,
    SourceError,
    SourceNotFoundError,
    UnreadableMediaError,
)
from edge.finding import Finding, ask, ok, problem, warning
from edge.mqtt import ProtocolRefusedError
from edge.mqtt_message import Message
from edge.mqtt_once import check_broker, publish_once
from edge.topics import Topics

SERVICE_USER: Final = "edge-pose"
UDEV_DMA_HEAP: Final = (
    'echo \'SUBSYSTEM=="dma_heap", GROUP="video", MODE="0660"\' | sudo tee /etc/udev/rules.d/60-dma-heap.rules && '
    "sudo udevadm control --reload && sudo udevadm trigger"
)
MEND_NO_BROKER: Final = "set mqtt.broker to where it is; for a broker on this machine: sudo apt install -y mosquitto"


def cameras(settings: Settings) -> Iterator[Finding]:
    """Open the source as `run` would, unless the service has it; and say which cameras there are."""
    source = redact(settings.camera.source)
    found = list_cameras()
    there = "; ".join(f"{camera.source} ({camera.description})" for camera in found) or "none"
    busy = next((unit for unit in _units() if unit.startswith("edge-pose") and _is(unit, "active")), None)
    if busy and not settings.camera.source.startswith(("rtsp", "http")) and not Path(source).is_file():
        yield ok("camera", f"{source} is left to {busy}, which runs: {_show(busy, 'StatusText')}. There are: {there}")
        return
    try:
        with open_source(settings.camera) as opened:
            frame = opened.read(settings.camera.open_timeout)
            size = f"{frame.width_px}x{frame.height_px}" if frame else "no frame"
            yield ok("camera", f"{source}: {opened.details or 'open'}, a frame of {size} came. There are: {there}")
    except MissingDependencyError as error:
        yield _missing_picamera2(str(error), there)
    except SourceError as error:
        denied = next((camera.problem for camera in found if camera.problem), "")
        plug_in = "connect one, or set camera.source to a stream, a file or `sample`"
        mend = denied or (f"set camera.source to a camera that is there: {there}" if found else plug_in)
        if settings.camera.source.lower().startswith(("rtsp", "http")):
            mend = "mend the address or the camera; `edge-pose snapshot` tries it again"
        elif settings.camera.source == "sample":
            mend = "do as it says, or set camera.source to a file or a camera"
        elif isinstance(error, UnreadableMediaError | SourceNotFoundError) and Path(source).suffix:
            mend = "set camera.source to a file that is there and can be decoded"
        yield problem("camera", str(error), mend)


def _missing_picamera2(said: str, there: str) -> Finding:
    text, _, command = said.rpartition(": ")
    mend = command or "install picamera2"
    text = (text or said).removesuffix("On Raspberry Pi OS").rstrip(" .")
    return problem("camera", f"{text}. There are: {there}", f"{mend}; or set camera.source to another camera")


def permissions(settings: Settings) -> Iterator[Finding]:
    """Whether whoever runs the loop may open the devices that it needs."""
    user = _user()
    wanted = [*sorted(Path("/dev").glob("video[0-9]*")), *sorted(Path("/dev").glob("media[0-9]*"))]
    heap = next((path for path in DMA_HEAPS if path.exists()), None)
    closed = [path for path in [*wanted, *([heap] if heap else [])] if not _may_open(path, user)]
    if not closed:
        yield ok("permissions", f"{user} may open all {len(wanted) + bool(heap)} camera devices")
        return
    kind = problem if settings.camera.source.startswith(("picamera2", "/dev/")) else warning
    groups = {_group(path) for path in closed}
    text = f"{user} may not open {', '.join(map(str, closed))} (group {', '.join(sorted(groups))})"
    if heap in closed and _group(heap) == "root":
        yield kind("permissions", text, UDEV_DMA_HEAP)
    else:
        again = "sudo systemctl restart edge-pose" if user == SERVICE_USER else "log out and in again"
        yield kind("permissions", text, f"sudo usermod -aG {','.join(sorted(groups))} {user} && {again}")


def _user() -> str:
    """Whose rights count: the service's where root asks, else the caller's own."""
    if os.geteuid() == 0:
        try:
            return pwd.getpwnam(SERVICE_USER).pw_name
        except KeyError:
            return "root"
    return pwd.getpwuid(os.geteuid()).pw_name


def _may_open(path: Path, user: str) -> bool:
    if user == "root":
        return True
    entry, status = pwd.getpwnam(user), path.stat()
    needed = stat.S_IROTH | stat.S_IWOTH
    if status.st_uid == entry.pw_uid:
        return status.st_mode >> 6 & needed == needed
    if status.st_gid in os.getgrouplist(user, entry.pw_gid):
        return status.st_mode >> 3 & needed == needed
    return status.st_mode & needed == needed


def _group(path: Path) -> str:
    try:
        return path.group()
    except KeyError:
        return str(path.stat().st_gid)


def accelerator(settings: Settings) -> Iterator[Finding]:
    """Whether there is an Edge TPU, and whether it can be used."""
    present = edgetpu.devices()
    there = ", ".join(map(str, present))
    model = settings.model
    wanted = sorted(set(filter(edgetpu.is_edgetpu, (model.device, model.detector_device))))
    if not wanted:
        yield ok("Edge TPU", f"{there}; not used: model.device is cpu" if there else "none, and none is asked for")
    for device in wanted:
        found = probe(model, device)
        closed = _closed_to_the_service(device, present) if isinstance(found, str) else found
        if closed is None:
            yield ok("Edge TPU", f"{found}. There are: {there or 'none that the kernel lists'}")
        elif model.fallback == "cpu" and closed.kind not in ("crash", "hang"):  # which `run` does not survive
            yield warning(
                "Edge TPU", f"{device}: {closed.text}; the CPU runs instead, as model.fallback allows", closed.mend
            )
        else:
            yield problem("Edge TPU", f"{device}: {closed.text}", closed.mend)


def _closed_to_the_service(device: str, present: list[edgetpu.EdgeTpu]) -> edgetpu.Fault | None:
    """Root may open everything; the service runs as somebody else."""
    user = _user()
    nodes = [tpu for tpu in edgetpu.wanted_of(device, present) if tpu.node is not None]
    if not nodes or any(_may_open(tpu.node, user) for tpu in nodes if tpu.node):
        return None
    return edgetpu.permission_fault(nodes[0], user)


def broker(settings: Settings) -> Iterator[Finding]:
    """Connect to the broker as `run` would. A broker that is away does not stop `run`, which tries again."""
    mqtt = settings.mqtt
    try:
        protocol = check_broker(mqtt)
    except ProtocolRefusedError as error:
        yield warning("broker", str(error), 'set mqtt.protocol = "auto"')
    except BrokerRefusedError as error:
        mend = f"set mqtt.username, and put the password into {SERVICE_PASSWORD} or the file of mqtt.password_file"
        yield warning("broker", str(error), mend)
    except BrokerError as error:
        mend = _tls_mend(str(error)) if mqtt.broker.startswith("mqtts") else MEND_NO_BROKER
        yield warning("broker", f"{error} (`run` goes on without it and tries again)", mend)
    else:
        yield ok(
            "broker", f"{mqtt.broker} lets us in, MQTT {protocol}" + (f", as {mqtt.username}" if mqtt.username else "")
        )
        yield from _access(mqtt)


def _tls_mend(said: str) -> str:
    """TLS is only to be switched off where the broker has none: not where it showed a certificate that is not right."""
    if "mismatch" in said:
        return (
            "set the host in mqtt.broker to the name that the broker's certificate is made out to, or give the broker "
            "a certificate for this host"
        )
    if "expired" in said or "not yet valid" in said:
        return "look at `timedatectl`; if the clock is right, give the broker a new certificate"
    if "certificate" in said:
        return "set mqtt.ca_file to the certificate of the authority that signed the broker's"
    return "set mqtt.ca_file if the broker has an authority of its own, or mqtt.broker to mqtt:// if it has no TLS"


def _access(mqtt: MqttSettings) -> Iterator[Finding]:
    """Whether the broker lets this device write: an answer to a command that nobody gave, which disturbs no reader.

    Brokers of MQTT 3.1.1 drop what is not allowed without a word, so there it is not known.
    """
    topics = Topics.of(mqtt)
    try:
        publish_once(mqtt, Message(topics.result("doctor"), b'{"ok":true}', qos=1, content_type="application/json"))
    except BrokerError as error:
        mend = f"let this device write below {topics.below('')} in the broker's access list, as in docs/mqtt.md"
        yield warning("broker", str(error), mend)


def names(settings: Settings) -> Iterator[Finding]:
    """Whether two configurations of this machine use the same device name: their clients would push each other out."""
    taken: dict[str, list[str]] = {}
    for path in sorted(SYSTEM_CONFIG.parent.glob("*.toml")):
        try:
            given = tomllib.loads(path.read_text()).get("mqtt", {}).get("device_name", "")
        except (OSError, ValueError):
            continue  # not for this user to read, or no TOML: the service that uses it says so
        taken.setdefault(given or "the host's name", []).append(path.name)
    for name, paths in taken.items():
        if len(paths) > 1:
            mend = f"set mqtt.device_name in {SYSTEM_CONFIG.parent / paths[1]} to a name of its own"
            yield warning("device name", f"{' and '.join(paths)} both use {name}", mend)
    yield ok("device name", settings.mqtt.device())


def units() -> Iterator[Finding]:
    """How the services are, if they are installed."""
    found = _units()
    if not found:
        yield ok("service", "not installed here; `sudo scripts/install` of a checkout does it")
    for unit in found:
        state, said = _show(unit, "ActiveState"), _show(unit, "StatusText")
        text = f"{unit}: {state}, {_show(unit, 'UnitFileState')}, restarted {_show(unit, 'NRestarts')} times"
        text += f"; {said}" if said else ""
        if state == "failed" or (state == "activating" and _show(unit, "NRestarts") != "0"):
            mend = f"journalctl -u {unit} -n 30 says why; then sudo systemctl restart {unit}"
            yield warning("service", f"{text}; result {_show(unit, 'Result')}", mend)
        else:
            yield ok("service", text)


def _units() -> list[str]:
    listing = ask(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "edge-pose.service", "edge-pose@*.service"
    ).splitlines()
    named = [line.split()[0] for line in listing if line.split()]
    return [unit for unit in named if _show(unit, "LoadState") == "loaded"]


def _is(unit: str, state: str) -> bool:
    return _show(unit, "ActiveState") == state


def _show(unit: str, name: str) -> str:
    return ask("systemctl", "show", "--property", name, "--value", unit)


CHECKS: Final[dict[str, Callable[[Settings], Iterator[Finding]]]] = {
    "models": doctor_models.models,
    "camera": cameras,
    "permissions": permissions,
    "Edge TPU": accelerator,
    "broker": broker,
    "device name": names,
}
