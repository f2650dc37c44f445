"""Where the broker is and how to be let in: its address, the password, TLS. No connection is made here."""

import os
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from edge.config import MqttSettings
from edge.errors import ConfigError

# Registered with IANA for MQTT and for MQTT over TLS.
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
EXPECTED = "expected mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS"
# The name under which a systemd unit hands the password over (LoadCredential=, SetCredentialEncrypted=).
CREDENTIAL = "mqtt-password"
# What the unit makes it of. Whoever may read it (root) has it by hand, too: `sudo edge-pose watch`, `doctor`.
SERVICE_PASSWORD = Path("/etc/edge-pose/mqtt-password")
# Of MQTT, in bytes.
LONGEST_STRING = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse(url: str) -> Address:
    """Read a broker's URL.

    Raises:
        ConfigError: not of the form mqtt://HOST[:PORT] or mqtts://HOST[:PORT], or with a password in it.
    """
    shown = _without_secret(url)
    if not url:
        raise ConfigError(f"mqtt.broker is empty: {EXPECTED}")
    if "://" not in url:
        raise ConfigError(f"mqtt.broker = {shown!r}: {EXPECTED}; did you mean mqtt://{shown}?")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"mqtt.broker = {shown!r}: {error}; {EXPECTED}, with a port from 1 to 65535") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigError(f"mqtt.broker = {shown!r}: unknown scheme {parts.scheme}://; {EXPECTED}")
    _refuse_extras(parts, shown)
    if port == 0:
        raise ConfigError(f"mqtt.broker = {shown!r}: no broker has port 0; {EXPECTED}, with a port from 1 to 65535")
    if not parts.hostname or not _may_be_host(parts.hostname):
        raise ConfigError(f"mqtt.broker = {shown!r}: there is no valid host name in it; {EXPECTED}")
    return Address(parts.hostname, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts")


def _may_be_host(name: str) -> bool:
    try:
        name.encode("idna")  # as the name service will be asked; of each part 63 letters at most
    except UnicodeError:
        return False
    return not any(character.isspace() for character in name)


def check(settings: MqttSettings) -> Address:
    """Look at everything that can be looked at without a network; returns where the broker is.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
    """
    address = parse(settings.broker)
    password(settings)
    tls_context(settings, address)
    return address


def _without_secret(url: str) -> str:
    """The URL without what stands before an @, which may be a password and must not reach a log."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}***@{rest.rpartition('@')[2]}" if "@" in rest else url


def _refuse_extras(parts: SplitResult, shown: str) -> None:
    if "@" in parts.netloc:
        raise ConfigError(
            f"mqtt.broker = {shown!r}: a user name or password in the URL would be seen in process lists and logs. "
            "Set mqtt.username, and put the password into a file named by mqtt.password_file"
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"mqtt.broker = {shown!r}: nothing may follow the port; {EXPECTED}. Topics are set by base")


def password_path(settings: MqttSettings) -> Path | None:
    """The file that holds the password: as set, or systemd's credential of this unit, or what that is made of; or None.

    The last only for whoever may read it, and where a user name is set, which a password belongs to.
    """
    if settings.password_file:
        return Path(settings.password_file).expanduser()
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        path = Path(credentials) / CREDENTIAL
        return path if path.is_file() else None
    return SERVICE_PASSWORD if settings.username and os.access(SERVICE_PASSWORD, os.R_OK) else None


def password(settings: MqttSettings) -> str | None:
    """The password, read anew each time, so that a changed file counts at the next connection; None is none.

    Raises:
        ConfigError: the file is missing, unreadable, empty or has several lines; or there is no user name to it.
    """
    path = password_path(settings)
    if path is None:
        return None
    if not settings.username:
        if settings.password_file:
            raise ConfigError(f"mqtt.password_file = {settings.password_file!r} without mqtt.username: set both")
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file: {path} cannot be read: {error}") from None
    if not settings.password_file and not any(lines):
        return None  # the unit's credential is blank where nobody has set a password
    if len(lines) != 1 or not lines[0]:
        raise ConfigError(f"mqtt.password_file: {path} has {len(lines)} lines; expected one, the password")
    if len(lines[0].encode()) > LONGEST_STRING:
        raise ConfigError(f"mqtt.password_file: {path}: MQTT has room for a password of {LONGEST_STRING} bytes")
    return lines[0]


def tls_context(settings: MqttSettings, address: Address) -> ssl.SSLContext | None:
    """TLS as set: the system's or an own authority, and this device's certificate; None for mqtt://.

    The same object as before as long as the files are the same: to load the system's authorities takes tens of
    milliseconds, and leaves memory behind, and a broker that is not trusted is asked again each second.

    Raises:
        ConfigError: a file that cannot be used, or certificates for a connection without TLS.
    """
    files = {"ca_file": settings.ca_file, "cert_file": settings.cert_file, "key_file": settings.key_file}
    given = {name: str(Path(path).expanduser()) for name, path in files.items() if path}
    if not address.tls:
        if given:
            raise ConfigError(f"mqtt.{next(iter(given))} is for TLS, and mqtt.broker is {address}: use mqtts://")
        return None
    if "key_file" in given and "cert_file" not in given:
        raise ConfigError("mqtt.key_file without mqtt.cert_file: set both, or neither")
    for name, path in given.items():
        if not Path(path).is_file():
            raise ConfigError(f"mqtt.{name} = {path!r}: there is no such file; expected one in PEM format")
    system = ssl.get_default_verify_paths()
    trusted = [given["ca_file"]] if "ca_file" in given else [system.cafile, system.capath]
    used = [path for path in (*trusted, *given.values()) if path]
    return _load(tuple(given.items()), tuple(Path(path).stat().st_mtime_ns for path in used))


@lru_cache(maxsize=4)
def _load(given: tuple[tuple[str, str], ...], _changed_ns: tuple[int, ...]) -> ssl.SSLContext:
    files, name = dict(given), "ca_file"
    try:
        context = ssl.create_default_context(cafile=files.get("ca_file"))
        if "cert_file" in files:
            name = "cert_file"
            # An encrypted key would make OpenSSL ask on the terminal; a service has none.
            context.load_cert_chain(files["cert_file"], files.get("key_file"), password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(f"mqtt.{name} = {files[name]!r}: not usable, expected PEM: {error}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; a service cannot ask for its password. Store it without one")
