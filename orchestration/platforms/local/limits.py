"""How long and how much: the numbers of a gateway in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds unless the name says otherwise. The defaults suit an LLM prompt flow on a laptop."""

    start_seconds: float = 120  # from the start of a server to its `serving`
    drain_seconds: float = 30  # for the requests in flight when a server or the gateway ends
    end_seconds: float = 10  # from the closed pipe to SIGKILL
    probe_seconds: float = 10  # between two looks at a server's health, and the time one may take
    probe_failures: int = 3  # so many in a row: the server hangs and is replaced
    steady_seconds: float = 10  # a server that lived this long did not die from its start
    backoff_seconds: float = 0.5  # before the second restart in a row; doubles
    backoff_limit_seconds: float = 30
    silence_seconds: float = 180  # a server may take this long between two bytes: Azure's longest request
    model_seconds: float = 120  # the model proxy waits this long for a rate limit before a call fails
    body_bytes: int = 10 * 2**20
    concurrency: int = 64  # requests that one server works on at a time
    connections: int = 128  # from the gateway to one server; more requests wait in the gateway
    log_bytes: int = 2**20  # of a server's log; one older file of this size is kept

    def backoff(self, deaths: int) -> float:
        """Pause before the restart after so many deaths in a row: none at first, then doubling."""
        if deaths <= 1:
            return 0.0
        return float(min(self.backoff_limit_seconds, self.backoff_seconds * 2 ** (min(deaths, 32) - 2)))
