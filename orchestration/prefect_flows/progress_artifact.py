"""Progress of an evaluation as a Prefect progress artifact, updated at most every two seconds."""

from __future__ import annotations

import contextvars
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from orchestration.evaluation.job import Progress
from orchestration.evaluation.progress import describe

SECONDS = 2.0


class ProgressArtifact:
    """Takes progress from the engine's thread, and talks to Prefect from one of its own.

    The engine has an event loop; Prefect's functions return coroutines there, and a slow server must not
    hold up rows.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._latest: Progress | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._publish_quietly,), name="progress", daemon=True
        )

    def __call__(self, progress: Progress) -> None:
        self._latest = progress

    def __enter__(self) -> Self:
        self._logger = get_run_logger()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _publish_quietly(self) -> None:
        with suppress(httpx.TransportError):  # progress is a comfort: without the server the rows go on
            self._publish()

    def _publish(self) -> None:
        artifact, shown = None, None
        while not self._ended.wait(SECONDS):
            latest = self._latest
            if latest is None or latest == shown:
                continue
            shown = latest
            percent = 100.0 * latest.done / max(1, latest.expected)
            if artifact is None:
                artifact = create_progress_artifact(progress=percent, description=f"Rows of {self.label}")
            else:
                update_progress_artifact(artifact_id=artifact, progress=percent)  # type: ignore[arg-type]
            self._logger.info("%s", describe(latest))
