"""Requests to the emulated Resource Manager sent by hand, without an SDK's retries and pollers in between."""

from __future__ import annotations

from typing import Any

import requests
from azure_clients import GROUP, bearer
from azure_emulator import Cloud
from azure_emulator.kinds import Kind

TYPE = "Example.Things/things"
THING = f"{GROUP}/providers/{TYPE}/one"


class ByHand:
    """Sends what a test says and answers what came back; `things` are resources that take time."""

    def __init__(self, cloud: Cloud) -> None:
        self._headers = bearer(cloud)
        cloud.scenario.seconds.update({"PUT things": 100.0, "PATCH things": 20.0, "DELETE things": 50.0})

    def send(self, method: str, path: str, body: Any = None, *, version: str = "2024-01-01") -> requests.Response:
        address = path if path.startswith("https:") else f"https://management.azure.com{path}"
        if version and "api-version=" not in address:
            address += f"{'&' if '?' in address else '?'}api-version={version}"
        return requests.request(method, address, json=body, headers=self._headers, timeout=10)

    def body(self, method: str, path: str, body: Any = None) -> Any:
        """The body of an answer that must be a success."""
        answer = self.send(method, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def code(self, method: str, path: str, body: Any = None, *, version: str = "2024-01-01") -> tuple[int, str]:
        """Status and error code of an answer that must be an error."""
        answer = self.send(method, path, body, version=version)
        return answer.status_code, answer.json()["error"]["code"]


def things(cloud: Cloud, **hooks: Any) -> ByHand:
    """A cloud with resources that take time, and things below them that don't."""
    cloud.arm.kind(TYPE, Kind(async_=True, **hooks))
    cloud.arm.kind(f"{TYPE}/parts", Kind())
    return ByHand(cloud)
