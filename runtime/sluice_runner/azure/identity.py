"""Tokens of the managed identity of the endpoint, as the machine that runs the container gives them out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request

from sluice_runner.azure.web import Ask, NoAnswer, ask

MARGIN_SECONDS = 300.0  # a token that ends sooner is not used any more
UNKNOWN_SECONDS = 600.0  # how long one is used whose end can't be read


class Identity:
    """Gives tokens, and keeps each until shortly before its end. Called from many threads.

    Two variants are known: `MSI_ENDPOINT` with `MSI_SECRET`, which Azure ML sets, and `IDENTITY_ENDPOINT` with
    `IDENTITY_HEADER`. `AZURE_CLIENT_ID` names a user-assigned identity.
    """

    def __init__(self, environment: Mapping[str, str], *, ask: Ask = ask, now: Callable[[], float] = time.time) -> None:
        self._environment, self._ask, self._now = environment, ask, now
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def token(self, resource: str) -> str:
        """A token for the resource, such as `https://management.azure.com/`. Raises `NoAnswer`."""
        with self._lock:
            token, end = self._tokens.get(resource, ("", 0.0))
            if end - self._now() < MARGIN_SECONDS:
                token, end = self._tokens[resource] = self._fetch(resource)
            return token

    def forget(self, resource: str) -> None:
        """Ask anew next time: the one given out was refused."""
        with self._lock:
            self._tokens.pop(resource, None)

    def _fetch(self, resource: str) -> tuple[str, float]:
        request = self._request(resource)
        try:
            answer = self._ask(request)
        except NoAnswer as error:  # the identity may only be on its way to this machine
            raise NoAnswer(f"the managed identity gave no token: {error}", after=error.after) from None
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise NoAnswer("the managed identity gave no token: its answer holds none")
        return token, self._end(answer)

    def _request(self, resource: str) -> Request:
        given, client = self._environment.get, self._environment.get("AZURE_CLIENT_ID", "")
        if given("IDENTITY_ENDPOINT") and given("IDENTITY_HEADER"):
            query = {"api-version": "2019-08-01", "resource": resource} | ({"client_id": client} if client else {})
            headers = {"X-IDENTITY-HEADER": self._environment["IDENTITY_HEADER"]}
            return Request(f"{self._environment['IDENTITY_ENDPOINT']}?{urlencode(query)}", headers=headers)  # noqa: S310 - set by the platform
        if given("MSI_ENDPOINT") and given("MSI_SECRET"):
            query = {"api-version": "2017-09-01", "resource": resource} | ({"clientid": client} if client else {})
            headers = {"secret": self._environment["MSI_SECRET"]}
            return Request(f"{self._environment['MSI_ENDPOINT']}?{urlencode(query)}", headers=headers)  # noqa: S310 - set by the platform
        message = "there is no managed identity here: neither MSI_ENDPOINT nor IDENTITY_ENDPOINT is set"
        raise NoAnswer(message, final=True)

    def _end(self, answer: Mapping[str, Any]) -> float:
        """Seconds since the epoch. `expires_on` may be a date of some local kind."""
        for key, start in (("expires_on", 0.0), ("expires_in", self._now())):
            try:
                return start + float(answer[key])
            except (KeyError, TypeError, ValueError):
                continue
        return self._now() + UNKNOWN_SECONDS
