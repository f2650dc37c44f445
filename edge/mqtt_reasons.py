"""Why a broker cannot be used, in words that say what to do: from socket errors and MQTT's reason codes."""

import socket
import ssl

# What brokers say to a wrong password: reason codes 134 and 135 of MQTT 5, return codes 4 and 5 of MQTT 3.1.1.
_CREDENTIALS = ("Bad user name or password", "Not authorized")


def unreachable(error: OSError, timeout_s: float) -> str:
    """Why no connection could be made."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there. Is the broker running, and is the port right?"
    if isinstance(error, socket.gaierror):
        return f"the host's name is not known ({error.strerror}). Is it spelled right, and does the network work?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({error.verify_message}). {_certificate_mend(error)}"
    if isinstance(error, ssl.SSLError | ConnectionResetError):  # a reset comes from a broker that expects no TLS
        reason = getattr(error, "reason", None) or error.strerror or error
        return f"TLS failed ({reason}). Does the broker speak TLS on this port?"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:.0f} s. Is the address right, and does a firewall drop it?"
    return f"{error.strerror or error}. Is the network up, and is the address right?"


def _certificate_mend(error: ssl.SSLCertVerificationError) -> str:
    given = error.verify_message.lower()
    if "mismatch" in given:
        return "Name it in mqtt.broker as there"
    if "expired" in given or "not yet valid" in given:  # a Pi has no clock of its own: before it has asked, it is wrong
        return "Is this device's clock right? Then the broker needs a new one"
    return "Set mqtt.ca_file to its authority"


def refused(reason: str, user: str) -> str:
    """Why the broker did not let this client in; `reason` is MQTT's name of the code, `user` is empty for none."""
    if reason not in _CREDENTIALS:
        return f"the broker refuses this client: {reason}"
    if user:
        return f"the broker refuses user {user!r} ({reason}); check mqtt.username and mqtt.password_file"
    return f"the broker refuses clients without a name ({reason}); set mqtt.username and mqtt.password_file"


def lost(reason: str) -> str:
    """Why a connection that stood is gone; `reason` is MQTT's name of the code, or empty."""
    return {
        "": "the connection is closed",
        "Unspecified error": "the connection broke",
        "Keep alive timeout": "nothing is heard from the broker any more",
        "Session taken over": "another client connected under the same name. Give each device its own device_name",
    }.get(reason, f"the broker ended the connection: {reason}")
