"""A throw-away certificate authority: one leaf certificate per host, and the bundle that clients are to trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import trustme


class Authority:
    """Certificates for any host, valid only for clients that trust `bundle`."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.bundle = folder / "ca-bundle.pem"
        self.bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + self._ca.cert_pem.bytes())

    def context(self, host: str) -> ssl.SSLContext:
        """What a server of that host needs; made once."""
        if host not in self._contexts:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._ca.issue_cert(host).configure_cert(context)
            self._contexts[host] = context
        return self._contexts[host]


def trusting() -> ssl.SSLContext:
    """For connections to backends on loopback: their certificates are anybody's."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
