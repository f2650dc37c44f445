"""Why a network camera's stream does not open: FFmpeg's own reason does not get through OpenCV."""

import socket
from urllib.parse import urlsplit

# A connection that is refused, unknown or silent is told apart by a plain TCP connection within this time.
DIAGNOSIS_S = 3.0
PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
ENCODE = "Special characters of a password are written %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #."


def why_no_stream(url: str) -> str:
    """What a plain TCP connection to the stream's server says, in sentences without credentials."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]
    except ValueError:
        return f"this is not a valid URL; expected for instance rtsp://user:password@host:554/path. {ENCODE}"
    name, server, mend = f"the host name {host!r}", f"{host} port {port}", ""
    if "@" in url.partition("://")[2][len(parts.netloc) :]:
        # A password with a slash in it ends the host's name too early: a part of it may stand in the name's place.
        name, server, mend = "the host name", "the server", f" {ENCODE}"
    try:
        with socket.create_connection((host, port), timeout=DIAGNOSIS_S):
            said = f"{server} answers, but gives no stream there. Check the path, user name and password of the URL."
    except (socket.gaierror, UnicodeError):  # unknown, or nothing that a name server could be asked for
        said = f"{name} is not known. Check the URL and the network."
    except TimeoutError:
        said = f"{server} does not answer. Check the address, and that the camera is switched on."
    except OSError as error:
        said = (
            f"{server} cannot be reached: {error.strerror or error}. Check the address, and that the server is running."
        )
    return said + mend
