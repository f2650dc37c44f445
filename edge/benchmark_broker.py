"""The broker that a benchmark publishes to: the one that was named, else a mosquitto of its own, else the demo's."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.config import MqttSettings
from edge.demo_broker import DemoBroker
from edge.errors import BrokerError

DEVICE = "benchmark"
START_TIMEOUT_S = 5.0


@contextmanager
def benchmark_broker(settings: MqttSettings, url: str | None) -> Iterator[tuple[MqttSettings, str]]:
    """Inside it there is a broker.

    Args:
        settings: used with a broker of the user's own: user name, password, TLS.
        url: the user's broker; None starts one.

    Yields:
        Settings to reach it with, and what it is, in words.

    Raises:
        MissingDependencyError: none was named, and neither mosquitto nor amqtt is installed.
        BrokerError: a broker of our own does not start.
    """
    # Debian puts daemons where a user's PATH does not look.
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if url is not None:
        mqtt = msgspec.structs.replace(settings, broker=url, device_name=DEVICE, homeassistant=False)
        yield mqtt, "the broker that was named"
    elif mosquitto:
        with _own_mosquitto(mosquitto) as own:
            yield MqttSettings(broker=own, device_name=DEVICE), "a mosquitto of its own"
    else:
        with DemoBroker() as demo:
            yield MqttSettings(broker=demo.url, device_name=DEVICE, protocol="3.1.1"), "the demo's broker (Python)"


@contextmanager
def _own_mosquitto(program: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="edge-pose-") as folder:
        port = _free_port()
        configuration = Path(folder) / "mosquitto.conf"
        configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        process = subprocess.Popen(
            (program, "-c", str(configuration)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_until_open(port, process)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BrokerError("the benchmark's own mosquitto does not start. Name a broker of yours with --broker")
