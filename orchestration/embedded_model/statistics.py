"""What the embedded model has seen: the evidence of benchmarks and tests."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from orchestration.values import Json


@dataclass(slots=True)
class Statistics:
    """Counts of chat requests; times are seconds since the epoch, None before the first.

    `requests` = `answered` + `rate_limited` + `injected_errors` + `bad_requests` + those in flight + those whose
    client went away. Tokens are of answered requests only.
    """

    requests: int = 0
    answered: int = 0
    rate_limited: int = 0
    injected_errors: int = 0
    bad_requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    first_request: float | None = None
    last_request: float | None = None
    last_answer: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def arrived(self) -> None:
        self.last_request = time.time()
        self.first_request = self.first_request or self.last_request
        self.requests += 1

    def admitted(self) -> None:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def left(self) -> None:
        self.in_flight -= 1

    def completed(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.answered += 1
        self.last_answer = time.time()
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def as_json(self) -> dict[str, Json]:
        """All counts, and the CPU seconds of this process so far."""
        return {**asdict(self), "cpu_seconds": time.process_time()}
