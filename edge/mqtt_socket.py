"""What a connection to a broker needs of the network beneath it: addresses, TLS by name, socket options."""

import socket
import ssl
import struct
import threading
from typing import Final

from edge.broker import Address

# The system's resolver waits 5 s and longer for a name server that does not answer, which is what a partition looks
# like. Where the broker was before is known by then, so nobody waits for more than this.
KNOWN_WAIT_S: Final = 0.3
FIRST_WAIT_S: Final = 10.0


class Names:
    """Addresses of a broker's host, asked anew each time, or as they were while the name server is away.

    Used by one thread. A question that takes long is left to itself, and its answer taken when it comes.
    """

    def __init__(self, broker: Address) -> None:
        self._broker = broker
        self._known: list[str] = []
        self._failure: OSError | None = None
        self._question: threading.Thread | None = None

    def addresses(self) -> list[str]:
        """Where to connect, the likeliest first.

        Raises:
            OSError: the name is unknown, or no name server answers.
        """
        if self._question is None or not self._question.is_alive():
            self._failure = None
            self._question = threading.Thread(target=self._ask, name="broker-name", daemon=True)
            self._question.start()
        self._question.join(KNOWN_WAIT_S if self._known else FIRST_WAIT_S)
        if self._known:
            return self._known
        raise self._failure or socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    def _ask(self) -> None:
        try:
            found = socket.getaddrinfo(self._broker.host, self._broker.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # a name that cannot be written as a host's is a UnicodeError
            self._failure = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
        else:
            self._known = list(dict.fromkeys(str(address[0]) for *_, address in found))


class NamedContext:
    """TLS for a host by its name although the connection is made to its address; paho knows only the address."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.check_hostname = context.check_hostname
        self._context = context
        self._host = host

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str, do_handshake_on_connect: bool) -> ssl.SSLSocket:
        """As `ssl.SSLContext` has it; `server_hostname` is the address, and is not used."""
        del server_hostname
        return self._context.wrap_socket(
            sock, server_hostname=self._host, do_handshake_on_connect=do_handshake_on_connect
        )


def tune(sock: socket.socket, keepalive_s: int) -> None:
    """Set a fresh socket up for small, urgent messages over a network that may die without a word."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What was sent and is not confirmed for this long ends the connection; the ping alone would take up to twice it.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, keepalive_s * 1000)
    # A connection given up is reset, and what it had not delivered thrown away: the next one sends it again, and the
    # old socket must not deliver it late, out of order, a second time.
    set_linger(sock, on=True)


def set_linger(sock: socket.socket, *, on: bool) -> None:
    """Whether closing the socket throws away what was not delivered, and resets the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(on), 0))
