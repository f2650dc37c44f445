"""Certificates of authorities made for a test, by openssl."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed; it makes the certificates"
)


def authority(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate authority: its certificate and key."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj")(
        f"/CN={name}", "-keyout", str(key), "-out", str(certificate)
    )
    return certificate, key


def certificate(directory: Path, name: str, signer: tuple[Path, Path], days: int = 2) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key; it ends in so many days, or ended so many ago."""
    key, request, signed = (directory / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
    extensions = directory / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj")(
        f"/CN={name}", "-keyout", str(key), "-out", str(request)
    )
    openssl("x509", "-req", "-days", str(days), "-CAcreateserial", "-extfile", str(extensions))(
        *("-in", str(request), "-CA", str(signer[0]), "-CAkey", str(signer[1]), "-out", str(signed))
    )
    return signed, key


def openssl(*first: str) -> Callable[..., None]:
    def run(*rest: str) -> None:
        subprocess.run(["openssl", *first, *rest], check=True, capture_output=True)

    return run
