"""A small event loop over file descriptors."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable

from sluice_runner.lines import OutBuffer


class Loop:
    """Calls back when a file descriptor can be read, and wakes when one that has something to write can take it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    @property
    def fds(self) -> list[int]:
        """The loop's own file descriptors, if it has any."""
        fileno = getattr(self._selector, "fileno", None)
        return [fileno()] if fileno else []

    def listen(self, fd: int, call: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, call)

    def forget(self, *fds: int) -> None:
        for fd in fds:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)

    def wait(self, seconds: float) -> None:
        """Wait for the first event, at most `seconds`, and call back for all that are there."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.data is not None and self._selector.get_map().get(key.fd) is key:
                key.data()

    def write(self, out: OutBuffer) -> None:
        """Write what the pipe takes, and wake up for the rest. Raises `BrokenPipeError` if nobody reads any more."""
        out.flush()
        waits = out.fd in self._selector.get_map()
        if out and not waits:
            self._selector.register(out.fd, selectors.EVENT_WRITE, None)
        elif waits and not out:
            self._selector.unregister(out.fd)
