"""`sluice run`"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from orchestration import interruption
from orchestration.cli.options import AsJson, Commit, Environment, Fresh, PromptFlowName, Set
from orchestration.cli.reply import Exit, Reply
from orchestration.platforms import open_platform
from orchestration.prefect_flows.private_server import Server, ensure_server, find_server
from orchestration.settings import parse_overrides
from orchestration.steps import endpoints, evaluate, prepare
from orchestration.steps.report import release_text
from orchestration.steps.work import Work
from orchestration.values import Outcome, Release, Request, as_json

CODES = {
    Outcome.BROKEN: Exit.BROKEN,
    Outcome.ROLLED_BACK: Exit.ROLLED_BACK,
    Outcome.REJECTED: Exit.FAIL,
    Outcome.INCONCLUSIVE: Exit.INCONCLUSIVE,
}


def run(
    prompt_flow: PromptFlowName = None,
    *,
    environment: Environment = "local",
    commit: Commit = None,
    fresh: Fresh = False,
    set_: Set = None,
    json: AsJson = False,
) -> Reply:
    """Evaluate a prompt flow, apply the gate, register and deploy it if it passes.

    Runs through Prefect: the server of PREFECT_API_URL, or a private one that stays until `sluice down`.

    Example: sluice run named_entity_recognition -e local --json

    Exit codes: 0 released or unchanged, 2 FAIL, 3 INCONCLUSIVE, 4 BROKEN, 5 rolled back, 64 wrong
    usage or configuration, 130 interrupted, 1 anything else.
    """
    wanted = prepare.requests(environment, prompt_flow, commit, fresh=fresh)
    overrides = parse_overrides(set_ or [])
    # Refuses bad input before any server is started.
    works = [prepare.take(request, command_line=overrides) for request in wanted]
    for work in works:
        _check(work)
    server = _connect(works[0].root, works[0].state, port=works[0].settings.prefect.port)
    with interruption.remembered():
        # Prefect reads its settings when it is imported, so only now.
        from orchestration.prefect_flows import in_process  # noqa: PLC0415

        releases = in_process.run(
            Request(prompt_flow or "", environment, commit, fresh), overrides, own_server=server.own
        )
        interruption.check()
    answer = reply(releases)
    return replace(answer, text="\n".join([answer.text, *_hints(works, releases), f"  Prefect   {server.ui_url}"]))


def _check(work: Work) -> None:
    """Open the flows once before anything is started or created; keys in Prefect blocks can't be read yet."""
    endpoints.check(work.settings, work.endpoint)
    if prepare.needs_blocks(work):
        return
    evaluate.check(work, prepare.build_runtimes(work, progress=_say))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def reply(releases: list[Release]) -> Reply:
    """Text, JSON and exit code: the worst of several decides."""
    code = next((CODES[o] for o in CODES if any(r.outcome is o for r in releases)), Exit.OK)
    objects = [as_json(release) for release in releases]
    data = objects[0] if len(objects) == 1 else {"releases": objects}
    return Reply("\n".join(release_text(release) for release in releases), data, code)


def _hints(works: list[Work], releases: list[Release]) -> list[str]:
    """What to type next: a request for what serves, where to look for what doesn't."""
    hints = []
    for work, release in zip(works, releases, strict=True):
        if release.outcome in (Outcome.RELEASED, Outcome.UNCHANGED):
            hints.append(f"  try       {open_platform(work.settings).example(work.endpoint, work.spec.sample.inputs)}")
        if release.outcome in (Outcome.REJECTED, Outcome.BROKEN):
            hints.append(f"  see       sluice evaluate {release.prompt_flow} -e {release.environment} --open")
    return hints


def _connect(root: Path, state: Path, *, port: int) -> Server:

    if find_server(root, state) is None:
        _say("Starting a private Prefect server, kept until `sluice down`")
    server = ensure_server(root, state, port=port)
    os.chdir(root)  # Prefect reads prefect.toml from the current folder
    return server
