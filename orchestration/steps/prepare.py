"""The first steps: settings, snapshot, binding, runtimes. Bad input is refused here, before anything is created."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.candidates import UNKNOWN, checkout, list_prompt_flows, load_spec, take_candidate
from orchestration.errors import ConfigurationError
from orchestration.processes import private_folder
from orchestration.references import Reference
from orchestration.runtimes import ensure_runtime
from orchestration.settings import bind, find_root, load_settings
from orchestration.steps.work import Work
from orchestration.values import Request

ALL = "all"


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The interpreters of a candidate's two environments; the evaluator's is None without an evaluation flow."""

    prompt_flow: Path
    evaluator: Path | None


def requests(
    environment: str, prompt_flow: str | None, commit: str | None, *, fresh: bool, root: Path | None = None
) -> list[Request]:
    """One request per prompt flow: the named one, the configured default, or `all` of them."""
    root = root or find_root()
    name = prompt_flow or load_settings(root, environment).default_prompt_flow
    names = list_prompt_flows(root) if name == ALL else [name]
    return [Request(name, environment, commit, fresh) for name in names]


def one_request(environment: str, prompt_flow: str | None, *, root: Path | None = None) -> Request:
    """The request for commands that work on one prompt flow: the named one, or the configured default."""
    found = requests(environment, prompt_flow, None, fresh=False, root=root)
    if len(found) != 1 or prompt_flow == ALL:
        names = ", ".join(request.prompt_flow for request in found)
        raise ConfigurationError("This works on one prompt flow at a time.", cure=f"Name one of {names}.")
    return found[0]


def take(
    request: Request,
    *,
    root: Path | None = None,
    block: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
    check_dirty: bool = True,
    snapshots: Path | None = None,
) -> Work:
    """Load the settings, snapshot the prompt flow, bind its connections. Raises `ConfigurationError`.

    The snapshot goes to the state folder, unless another folder for `snapshots` is named.
    """
    root = root or find_root()
    settings = load_settings(root, request.environment, block=block, command_line=command_line)
    candidate = take_candidate(root, snapshots or settings.state, request.prompt_flow, commit=request.commit)
    if snapshots is None:
        with contextlib.suppress(PermissionError):  # another user's folder, which we may only write to
            private_folder(settings.state)  # answers may be private
    if check_dirty and candidate.dirty and not settings.allow_dirty:
        what = f"Files of {candidate.prompt_flow} are not committed as they are here"
        known = "Commit them (git status --ignored names them), or name a commit with --commit."
        cure = known if candidate.commit != UNKNOWN else "Git does not know this folder: git status says why."
        raise ConfigurationError(f"{what}, and {request.environment} refuses that.", cure=cure)
    spec = load_spec(candidate)
    return Work(root, request, settings, candidate, spec, bind(settings, spec))


def build_runtimes(work: Work, *, progress: Callable[[str], None] = lambda _: None) -> Runtimes:
    """Build, or find, the environments in which the prompt flow and its evaluation flow run."""

    def build(name: str) -> Path:
        lock = (work.candidate.folder / name).read_text(encoding="utf-8")
        return ensure_runtime(lock, folder=work.settings.runtimes, root=work.root, progress=progress)

    graded = (work.candidate.folder / "evaluator-lock.txt").exists()
    return Runtimes(build("lock.txt"), build("evaluator-lock.txt") if graded else None)


def needs_blocks(work: Work) -> bool:
    """Whether a connection of the prompt flow, or who signs in for it, has a value in a Prefect block."""
    used = [work.settings.connections[name] for name in work.binding.connections]
    references = [r for c in used for r in (c.api_base, c.api_key, *c.secrets.values())]
    if work.settings.azure is not None:
        credential = work.settings.azure.credential
        references += [credential.tenant_id, credential.client_id, credential.client_secret]
        if credential.kind == "block":
            return True
    return any(isinstance(reference, Reference) and reference.block for reference in references)


def describe(environment: str, prompt_flow: str | None, commit: str | None) -> str:
    """Prompt flow, commit and environment for the name of a run, without taking a snapshot."""
    root = find_root()
    name = prompt_flow or load_settings(root, environment).default_prompt_flow
    return f"{name} {(commit or checkout(root).commit)[:8]} {environment}"
