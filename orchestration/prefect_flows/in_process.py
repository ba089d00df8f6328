"""The parent flow run in this process, for the command line. Import it only after the server is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from orchestration.errors import PlatformUnavailable
from orchestration.prefect_flows.evaluate_deploy import evaluate_deploy
from orchestration.values import Release, Request


def run(request: Request, settings: Mapping[str, Any]) -> list[Release]:
    """Run `evaluate-deploy` here. Raises what it was refused for, and `PlatformUnavailable` if the server is lost."""
    try:
        state = evaluate_deploy(
            request.environment,
            request.prompt_flow or None,
            request.commit,
            request.fresh,
            dict(settings),
            return_state=True,
        )
    except (httpx.TransportError, PrefectHTTPStatusError) as error:
        cure = "Run the same command again: finished rows are kept."
        raise PlatformUnavailable(f"The Prefect server was lost in mid-run: {error}.", cure=cure) from error
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        cure = "Check PREFECT_API_URL, or unset it to use the private server."
        raise PlatformUnavailable(f"The Prefect server does not answer: {error}.", cure=cure) from None
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    return list(cast("list[Release]", outcome))
