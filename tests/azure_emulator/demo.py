"""The demonstration: `sluice` as a user runs it, in a project whose environment `dev` is an emulated workspace.

The command line and all that it starts are led to the emulator by environment variables only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestration.runtimes import ensure_runtime

from . import emulator
from .azurite import unavailable
from .children import OUTSIDE
from .clock import RealClock
from .cloud import Cloud
from .images import RUNTIMES
from .machine_learning.workspaces import Workspace, add_workspace

ROOT = Path(__file__).parents[2]
PROMPT_FLOWS = ("named_entity_recognition", "web_classification")
CLIENT_LOCK = ROOT / "requirements" / "promptflow-azure.txt"
LINKED, COPIED = ("runtime", "requirements", "prefect.yaml"), ("flows", "config", "deployments")
SECRET = "a-secret-that-was-made-up"
SPEED = 120.0  # a deployment of eight minutes takes four seconds
PLACES = ("worker", "compute-instance")
WRITES = ("PUT", "PATCH", "POST", "DELETE")
FOREIGN = ("AZURE_", "MSI_", "IDENTITY_", "IMDS_", "PREFECT_", "MLFLOW_", "ALL_PROXY", "SUBSCRIPTION_ID", "AOAI_")
DEV = """\
platform: azure
place: {place}
azure:
  subscription_id: {subscription}
  resource_group: {group}
  workspace: {workspace}
  credential:
    kind: client_secret
    tenant_id: {tenant}
    client_id: {client}
    client_secret: {{file: secret.txt}}
  poll_seconds: 0.25
rollout:
  step_seconds: 0.5
  drain_seconds: 0
"""


@dataclass(frozen=True)
class Demo:
    """A copy of this project, in which `sluice` is run."""

    root: Path
    environment: Mapping[str, str]

    def sluice(self, *arguments: str, given: str | None = None) -> int:
        """Run the command line as a person would, and show it; returns its exit code."""
        print(f"\n$ sluice {' '.join(arguments)}", flush=True)
        command = [str(Path(sys.executable).with_name("sluice")), *arguments]
        done = subprocess.run(command, cwd=self.root, env=dict(self.environment), input=given, text=True, check=False)
        print(f"(exit code {done.returncode})", flush=True)
        return done.returncode


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; exit code 0 if all went as it should."""
    parser = argparse.ArgumentParser(prog="make azure-demo", description=__doc__)
    parser.add_argument("prompt_flows", nargs="*", default=PROMPT_FLOWS, help="by default both that are shipped")
    parser.add_argument("--speed", type=float, default=SPEED, help="how much faster than Azure the emulator is")
    parser.add_argument("--place", choices=PLACES, default=PLACES[0], help="where the rows run")
    found = parser.parse_args(argv)
    if reason := unavailable():
        print(f"The demonstration needs blob storage, and that can't be had: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="azure-demo-") as folder, _project(Path(folder) / "project") as root:
        prepared = Demo(root, _outside())
        # The runtimes are built before the world is only the emulated one.
        problems = [
            f"sluice test {name}" for name in found.prompt_flows if prepared.sluice("test", name, "-e", "local")
        ]
        if found.place != PLACES[0]:
            ensure_runtime(CLIENT_LOCK.read_text(encoding="utf-8"), folder=RUNTIMES, root=ROOT)
        with emulator(clock=RealClock(found.speed)) as cloud:
            workspace = _sign_up(cloud, root, found.place)
            problems += _story(cloud, Demo(root, _outside() | cloud.environment()), found.prompt_flows)
            problems += _account(cloud, workspace)
    print("\n" + ("\n".join(f"NOT as it should be: {each}" for each in problems) or "All as it should be."))
    return int(bool(problems))


def _story(cloud: Cloud, demo: Demo, prompt_flows: Sequence[str]) -> list[str]:
    """From the connection to a second release with nothing to do; what went wrong."""
    address = ("--api-base", "https://team.openai.azure.com", "--model", "gpt-4o-mini")
    create = ("connections", "create", "aoai", "-e", "dev", *address, "--key-stdin", "--yes")
    wanted = [(create, "a-key-that-was-made-up"), (("doctor", "-e", "dev"), None)]
    problems = [" ".join(arguments) for arguments, given in wanted if demo.sluice(*arguments, given=given)]
    for name in prompt_flows:
        if demo.sluice("run", name, "-e", "dev"):
            problems.append(f"run {name}")
        before = len(cloud.exchanges)
        if demo.sluice("run", name, "-e", "dev"):
            problems.append(f"run {name} again")
        problems += [f"with nothing changed: {each}" for each in _writes(cloud, since=before)]
    demo.sluice("status", "-e", "dev")
    return problems


def _writes(cloud: Cloud, *, since: int) -> list[str]:
    """Requests to Azure Resource Manager that change something."""
    sent = ((each.method, urlsplit(each.url)) for each in cloud.exchanges[since:])
    return [
        f"{method} {url.path}"
        for method, url in sent
        if url.hostname == "management.azure.com"
        and method in WRITES
        and "listsecrets" not in url.path.lower()
        and "listkeys" not in url.path.lower()
    ]


def _account(cloud: Cloud, workspace: Workspace) -> list[str]:
    """Print what was asked of Azure; what was asked that does not exist."""
    hosts = Counter(urlsplit(each.url).hostname for each in cloud.exchanges)
    print(f"\n{len(cloud.exchanges)} requests to Azure:")
    for host, count in hosts.most_common():
        print(f"  {count:5d}  {host}")
    for endpoint, history in _traffic(cloud, workspace).items():
        print(f"traffic of {endpoint}: {' -> '.join(history)}")
    print(f"refused hosts: {len(cloud.refused)}; unknown requests: {len(cloud.unknown)}")
    return [
        *(f"refused {host}" for host in cloud.refused),
        *(f"unknown {each}" for each in cloud.unknown),
        *cloud.crashes,
    ]


def _traffic(cloud: Cloud, workspace: Workspace) -> dict[str, list[str]]:
    """By endpoint every traffic map that it had, in order."""
    histories: dict[str, list[str]] = {}
    for change in cloud.arm.history:
        place = change.path.removeprefix(f"{workspace.id}/").split("/")
        if place[0].lower() == "onlineendpoints" and len(place) == 2 and change.body:
            shares = change.body["properties"].get("traffic") or {}
            shown = " ".join(f"{name} {share} %" for name, share in shares.items() if share) or "nobody"
            history = histories.setdefault(place[1], [])
            if history[-1:] != [shown]:
                history.append(shown)
    return histories


def _outside() -> dict[str, str]:
    """This process's environment without what would lead a run to a user's own accounts or servers."""
    return {name: value for name, value in OUTSIDE.items() if not name.upper().startswith(FOREIGN)}


def _sign_up(cloud: Cloud, root: Path, place: str) -> Workspace:
    """A workspace, an application that may use it, and config/dev.yaml that names both."""
    workspace = add_workspace(cloud, resource_group="team", name="studio")
    application = cloud.directory.register(secret=SECRET)
    secret = root / "secret.txt"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    (root / "config" / "dev.yaml").write_text(
        DEV.format(
            place=place,
            subscription=workspace.subscription_id,
            group=workspace.resource_group,
            workspace=workspace.name,
            tenant=cloud.directory.tenant,
            client=application.principal.client_id,
        )
    )
    return workspace


@contextmanager
def _project(root: Path) -> Iterator[Path]:
    """A copy of this project; its processes end with the demonstration."""
    root.mkdir()
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name)
    with (root / "config" / "base.yaml").open("a") as base:
        base.write(f"\nruntimes_folder: {RUNTIMES}\n")
    try:
        yield root
    finally:
        Demo(root, _outside()).sluice("down")
