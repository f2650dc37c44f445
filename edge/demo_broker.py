"""A small MQTT broker inside this process, for `edge-pose demo`: local machine only, no passwords, nothing kept."""

import asyncio
import logging
import threading
from typing import Any, Self

from edge.errors import BrokerError, MissingDependencyError

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0


class DemoBroker:
    """A context manager: inside it a broker listens at `url`. It speaks MQTT 3.1.1.

    Raises:
        MissingDependencyError: amqtt is not installed.
        BrokerError: it does not start.
    """

    def __init__(self) -> None:
        try:
            import amqtt.broker  # noqa: F401 -- an optional dependency, looked for where it is used
        except ImportError:
            raise MissingDependencyError(
                "the demo's own broker needs the package amqtt: pip install 'edge-pose[demo]', "
                "or name a broker of yours with --broker"
            ) from None
        self.url = ""
        self._started = threading.Event()
        self._failure: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="demo-broker", daemon=True)

    def __enter__(self) -> Self:
        # Its own log is about its inside; what matters to a user is said by the clients.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S) or self._failure:
            raise BrokerError(f"the demo's own broker does not start: {self._failure or 'no answer'}")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:  # noqa: BLE001 -- whatever it is, the thread that waits for the start must hear it
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker

        # amqtt has no way to say which port it took when asked for any, so its server is asked.
        server = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await server.start()
        self.url = f"mqtt://127.0.0.1:{_port(server)}"
        self._started.set()
        await self._stop.wait()
        await server.shutdown()


def _port(server: Any) -> int:  # noqa: ANN401 -- amqtt has no types
    listening = server._servers["default"].instance.sockets[0]  # noqa: SLF001 -- there is no public way
    port: int = listening.getsockname()[1]
    return port
