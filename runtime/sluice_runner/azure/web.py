"""One JSON request, and what can go wrong with it."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SECONDS = 30.0
SHOWN = 300  # characters of somebody else's words
Ask = Callable[[urllib.request.Request], Any]


class NoAnswer(Exception):
    """No usable answer; the text is fit for a log.

    `status` is 0 if nobody answered, `after` what Retry-After asks for; `final`: asking again is no use.
    """

    def __init__(self, message: str, *, status: int = 0, after: float = 0.0, final: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.status, self.after, self.final = status, after, final


def ask(request: urllib.request.Request) -> Any:
    """The JSON object of a 200. Proxies and certificates are those of the environment. Raises `NoAnswer`."""
    try:
        with _opener(request).open(request, timeout=SECONDS) as answer:
            return _read(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from None
    except urllib.error.URLError as error:
        raise NoAnswer(f"{request.host} can't be reached: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"the connection to {request.host} was lost: {type(error).__name__}") from None


def _opener(request: urllib.request.Request) -> urllib.request.OpenerDirector:
    """What is on this machine, such as the source of its identity, is nobody else's business."""
    local = urlsplit(request.full_url).hostname in LOOPBACK
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []), _NoRedirect)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token or the secret of a header along."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _read(body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise NoAnswer("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise NoAnswer("the answer is not a JSON object")
    return answer


def _refused(error: urllib.error.HTTPError) -> NoAnswer:
    said: Any = None
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, RecursionError):
        said = json.loads(error.read(65536))
    after = 0.0
    with contextlib.suppress(ValueError):
        after = max(0.0, float(error.headers.get("Retry-After") or 0))
    return NoAnswer(f"status {error.code}{_words(said)}", status=error.code, after=after)


def _words(said: Any) -> str:
    """`: Code: message`, from Azure's shape of an error."""
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        return ""
    words = [str(error[key]) for key in ("code", "message") if error.get(key)]
    return f": {': '.join(words)}"[:SHOWN] if words else ""
