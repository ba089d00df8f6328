"""What Azure's clients raise, as our errors: in one line, with the next command, without secrets.

The class says what may be done about it: `PlatformUnavailable` try the step again, `PlatformConflict` wait and
decide again, the others stop. It follows from status, codes and message together, because the service puts the
cause now into the one and now into the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
)

from orchestration.errors import (
    ConfigurationError,
    PlatformConflict,
    PlatformError,
    PlatformUnavailable,
    ResourceNotFound,
    SluiceError,
)
from orchestration.platforms.azure.faults import AGAIN, Said, find_kind, one_line, said

NETWORK = "Check network, proxy and DNS."
CORRECT = "Correct what it names, then run the same command again."
SDK = ("azure.", "msrest.", "marshmallow.")
OUTAGE = frozenset({408, 429, 500, 502, 503, 504})
NO_SIGN_IN = re.compile(r"HTTP Error: (?:408|429|5\d\d)\b")  # all that MSAL says of such an answer


class OutcomeUnknown(PlatformUnavailable):
    """The request was sent and its answer got lost: whether it took effect has to be read."""


class TokenRefused(PlatformUnavailable):
    """A token that was good a moment ago is refused: worth another attempt with a new one."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what Azure's clients raise within as one of our errors. `what` was asked for: "create the endpoint x"."""
    try:
        yield
    except SluiceError:
        raise
    except Exception as error:
        ours = _as_ours(what, error)
        if ours is None:
            raise
        raise ours from error


def sent(write: Callable[[], None], *, landed: Callable[[], bool]) -> None:
    """Send a write. If its answer got lost, what can be read decides whether that is an error.

    So it does for a conflict, and for a removal of what is not there: the SDK sends a write again whose answer got lost,
    and then its own first one is in the way, or was enough.
    """
    try:
        write()
    except (OutcomeUnknown, PlatformConflict, ResourceNotFound):
        if not landed():
            raise


def _as_ours(what: str, error: BaseException) -> SluiceError | None:
    if isinstance(error, ClientAuthenticationError):
        return _sign_in(what, error)
    if isinstance(error, HttpResponseError) and not isinstance(error, DecodeError) and not _was_done(error):
        return refusal(what, said(error))
    if _is_from(error, "azure.ai.ml.exceptions") or _is_from(error, "marshmallow"):
        return ConfigurationError(f"Azure's client does not {what}: {one_line(error)}", cure="Check deployments/.")
    if isinstance(error, AzureError):  # behind a web proxy the SDK says "not sent" also of what was sent
        return OutcomeUnknown(f"Azure did not answer: {what}: {one_line(error)}", cure=NETWORK)
    if type(error) is Exception and error.__cause__ is not None:  # how the SDK reports a refused storage token
        return _as_ours(what, error.__cause__)
    return _not_understood(what, error)


def _was_done(error: HttpResponseError) -> bool:
    """Whether Azure said yes, in words that its client could not read."""
    return error.status_code is not None and HTTPStatus.OK <= error.status_code < HTTPStatus.MULTIPLE_CHOICES


def refusal(what: str, answer: Said) -> SluiceError:
    """The error for what Azure said."""
    kind = find_kind(answer)
    text = f"Azure did not {what}: {answer}"
    if kind is None:
        return PlatformError(text, cure=CORRECT)
    if kind.token:
        return TokenRefused(text, cure=kind.cure)
    return kind.error(text, cure=kind.cure)


def _sign_in(what: str, error: ClientAuthenticationError) -> SluiceError:
    """A refused request, a refused sign-in, or a sign-in that the network did not let happen."""
    for cause in _causes(error):
        if isinstance(cause, AzureError) and not isinstance(cause, HttpResponseError):
            return PlatformUnavailable(f"Azure can't be reached to sign in: {one_line(cause)}", cure=NETWORK)
    answer = said(error)
    if answer.status in OUTAGE or NO_SIGN_IN.search(answer.message):
        return PlatformUnavailable(f"The sign-in to Azure is not available now: {answer.message}", cure=AGAIN)
    if answer.status == 401 and "AADSTS" not in answer.message:
        return refusal(what, answer)
    kind = find_kind(answer)
    cure = kind.cure if kind and kind.cure else "Check azure.credential in config/, then: sluice doctor"
    return ConfigurationError(f"The sign-in to Azure failed: {answer.message}", cure=cure)


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _is_from(error: BaseException, module: str) -> bool:
    """Whether the error's class is of that module; the modules of the SDK take seconds to import."""
    return any(each.__module__.split(".")[: module.count(".") + 1] == module.split(".") for each in type(error).__mro__)


def _not_understood(what: str, error: BaseException) -> SluiceError | None:
    """Answers of another shape than the SDK expects end as errors of Python deep inside of it."""
    if isinstance(error, json.JSONDecodeError):  # found by whoever reads the answer, ourselves included
        return OutcomeUnknown(f"Azure's answer is no JSON: {what}: {one_line(error)}.", cure=AGAIN)
    if not isinstance(error, AttributeError | TypeError | KeyError | ValueError):
        return None
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    if not str(name).startswith(SDK):
        return None
    text = f"Azure's answer has a shape that its client does not know: {what}: {one_line(error)}."
    return OutcomeUnknown(text, cure=AGAIN)
