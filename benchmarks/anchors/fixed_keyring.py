"""A keyring for machines without one: promptflow keeps the key of its connection store there. Nothing is secret here."""

from __future__ import annotations

import base64

from keyring.backend import KeyringBackend  # type: ignore[import-not-found]


class FixedKeyring(KeyringBackend):  # type: ignore[misc]
    """Knows one key, the same in every process."""

    priority = 1

    def get_password(self, service: str, username: str) -> str:  # noqa: ARG002 - the library's signature
        return base64.urlsafe_b64encode(b"benchmarks only, never a secret!").decode()

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError
