"""The bearer token of requests to a workspace's own MLflow: an `mlflow.request_auth_provider`, named in pyproject.toml.

MLflow asks it for every request once `MLFLOW_TRACKING_AUTH` names it, and the token is asked for then: whoever
gives it keeps it only as long as it is good. A request to any other address goes out as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

NAME: Final = "sluice"
VARIABLE: Final = "MLFLOW_TRACKING_AUTH"
_tokens: dict[str, Callable[[], str]] = {}


def authorize(tracking_uri: str, token: Callable[[], str]) -> None:
    """Send requests below that address with a token, from now on and in this process."""
    _tokens[tracking_uri] = token
    os.environ[VARIABLE] = NAME


class Provider:
    """What MLflow loads by its entry point."""

    def get_name(self) -> str:
        """The value of `MLFLOW_TRACKING_AUTH` that means this one."""
        return NAME

    def get_auth(self) -> Callable[[Any], Any]:
        """What adds the header to a prepared request."""
        return _signed


def _signed(request: Any) -> Any:
    for address, token in _tokens.items():
        if str(request.url).startswith(f"{address}/"):
            request.headers["Authorization"] = f"Bearer {token()}"
    return request
