"""The parent flow run in this process, for the command line. Import it only after the server is chosen."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import httpx
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from orchestration.errors import PlatformUnavailable
from orchestration.prefect_flows.evaluate_deploy import evaluate_deploy
from orchestration.values import Release, Request

# Prefect repeats each call for a minute, each event for seven seconds, and a run that ends makes several of both. Our own
# server is on this machine: it may be busy for some seconds, else it is gone. A variable of the user's still decides.
IMPATIENT: dict[Any, Any] = {PREFECT_CLIENT_MAX_RETRIES: 3, PREFECT_API_REQUEST_TIMEOUT: 20.0}
LOST = (httpx.TransportError, PrefectHTTPStatusError)
RECONNECTIONS = 2  # Prefect's events client pauses only after more
# What they say of a server that is gone fills a screen; the run says it in one line.
CHATTY = ("prefect.events.clients", "prefect._internal.concurrency", "EventsWorker")


def run(request: Request, settings: Mapping[str, Any], *, own_server: bool = False) -> list[Release]:
    """Run `evaluate-deploy` here; `own_server`: against the private one, whose loss is noticed soon.

    Raises what it was refused for, and `PlatformUnavailable` if the server is lost.
    """
    try:
        _be_quiet()
        with _impatient() if own_server else nullcontext():
            state = evaluate_deploy(
                request.environment,
                request.prompt_flow or None,
                request.commit,
                request.fresh,
                dict(settings),
                return_state=True,
            )
    except LOST as error:
        raise _lost(error) from error
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        cure = "Check PREFECT_API_URL, or unset it to use the private server."
        raise PlatformUnavailable(f"The Prefect server does not answer: {error}.", cure=cure) from None
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, LOST):
        raise _lost(outcome) from outcome
    if isinstance(outcome, BaseException):
        raise outcome
    return list(cast("list[Release]", outcome))


def _be_quiet() -> None:
    logging.raiseExceptions = False  # a line that the server could not take is not worth a traceback
    for name in CHATTY:  # by a filter: Prefect sets their levels anew
        logging.getLogger(name).addFilter(lambda _: False)


@contextmanager
def _impatient() -> Iterator[None]:
    EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=RECONNECTIONS)
    with temporary_settings({setting: value for setting, value in IMPATIENT.items() if setting.name not in os.environ}):
        yield


def _lost(error: Exception) -> PlatformUnavailable:
    cure = "Run the same command again: finished rows are kept."
    if isinstance(error, PrefectHTTPStatusError):
        answer = error.response
        said = f"{answer.request.url.path} answered {answer.status_code} {answer.reason_phrase}"
        return PlatformUnavailable(f"The Prefect server failed in mid-run: {said}.", cure=cure)
    return PlatformUnavailable(
        f"The Prefect server was lost in mid-run: {str(error) or type(error).__name__}.", cure=cure
    )
