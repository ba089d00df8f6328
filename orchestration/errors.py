"""Every error that Sluicegate raises on purpose.

    SluiceError                  base: what, where, why and the next command, in one line
      ConfigurationError         the user can fix it; exit 64, printed without a traceback
      PlatformError
        ResourceNotFound         absent, and nothing else
        ResourceDamaged          there, but what is kept of it can't be read
        ResourceRefused          exists, but is not ours; or the name is taken
        PlatformConflict         another operation is in the way; wait, re-read, decide again
        PlatformUnavailable      transient: connection lost, 429, 5xx; the only error that Prefect retries
        ProvisioningFailed       the platform tried and says it failed: resource, state, detail
        PlatformTimeout          what, seconds waited, last state
      EvaluationBroken           the evaluation could not be judged; becomes a BROKEN decision
        RunnerFailed             the runtime's runner refused or died: code, message, where
        CeilingReached           the spending ceiling stopped the evaluation in mid-run
      EndpointHeld               another run is releasing to this endpoint
      NotAuthorized              no PASS decision for this content, binding and environment: nothing ships

Anything else that escapes is a bug and is shown with its traceback.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a user's file: `file:line:key`; line and key may be unknown."""

    file: str
    line: int | None = None
    key: str = ""

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
        if self.key:
            parts.append(self.key)
        return ":".join(parts)


class SluiceError(Exception):
    """One line: what is wrong, and in `cure` the next thing to do."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


class ConfigurationError(SluiceError):
    """The user's input is wrong, and nothing has been created yet."""

    def __init__(self, message: str, *, at: Place | None = None, cure: str = "") -> None:
        super().__init__(f"{at}: {message}" if at else message, cure=cure)
        self.at = at


class PlatformError(SluiceError):
    """The platform (this machine's or Azure's) could not do what it was asked."""


class ResourceNotFound(PlatformError):
    """The resource is truly absent."""


class ResourceDamaged(PlatformError):
    """The resource is there, but what the platform keeps of it can't be read: it can only be removed."""


class ResourceRefused(PlatformError):
    """The resource exists and is not ours, so it is neither adopted nor removed."""


class PlatformConflict(PlatformError):
    """Another operation holds the resource: wait, read again, decide again."""


class PlatformUnavailable(PlatformError):
    """A transient failure: worth another attempt of an idempotent step."""


class ProvisioningFailed(PlatformError):
    """The platform reports a failed resource; `logs` holds what it printed."""

    def __init__(self, message: str, *, logs: str = "", cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.logs = logs


class PlatformTimeout(PlatformError):
    """A deadline passed while waiting."""

    def __init__(self, what: str, seconds: float, *, last: str = "unknown") -> None:
        message = f"{what} was not ready after {seconds:g} s (last state: {last})."
        super().__init__(message, cure="Run the same command again: it goes on from what is there.")
        self.what, self.seconds, self.last = what, seconds, last


class EvaluationBroken(SluiceError):
    """The evaluation could not be judged."""


class RunnerFailed(EvaluationBroken):
    """The runner inside the runtime could not open the prompt flow, or died: `reason` is the message alone.

    `side` is which of a candidate's two flows it was for, `flow` or `evaluator`; empty if nobody said so.
    """

    def __init__(self, code: str, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.code, self.reason, self.where = code, message, where
        self.side = ""


class CeilingReached(EvaluationBroken):
    """The spending ceiling (tokens or price) was reached in mid-run."""


class EndpointHeld(SluiceError):
    """Another run holds the endpoint; releases are never interleaved."""


class NotAuthorized(SluiceError):
    """The decision does not allow this content to ship with this binding to this environment."""
