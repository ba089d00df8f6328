"""Azure as a platform: the whole release by hand, nobody asked who need not be, and every request as published."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from azure_emulator import Cloud
from release_project import ENDPOINT, ReleaseProject
from spec_check import findings

from orchestration.errors import ResourceNotFound
from orchestration.platforms import open_platform
from orchestration.platforms.azure.platform import AzurePlatform
from orchestration.platforms.base import REMOVAL, Endpoint, Found, OnlineDeployment, RoleAssignment
from orchestration.polling import wait_until

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("orchestration.platforms", "azure"),
        ("orchestration.platforms.azure", "azure"),
        ("orchestration.platforms.azure.platform", "azure.ai"),
        ("orchestration.platforms.azure.platform", "azure.storage"),
        ("orchestration.platforms.azure.platform", "azure.mgmt.authorization"),
        ("orchestration.platforms.azure.platform", "azure.identity"),
    ],
)
def test_importing_it_imports_no_sdk_before_it_is_used(module: str, absent: str) -> None:
    code = f"import sys, {module}; print([n for n in sys.modules if (n + '.').startswith({absent!r} + '.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_opening_it_asks_nobody(project: ReleaseProject) -> None:
    assert isinstance(open_platform(project.settings), AzurePlatform)
    assert project.cloud.exchanges == []


def test_patience_is_in_the_settings(project: ReleaseProject) -> None:
    project.configure("poll_seconds: 7\ndeadlines: {endpoint: 1, deployment: 2, access: 3, removal: 4}\n")
    kinds = (Endpoint.kind, OnlineDeployment.kind, RoleAssignment.kind, REMOVAL)
    assert [project.platform.patience(kind).timeout_seconds for kind in kinds] == [1, 2, 3, 4]
    waits = {project.platform.patience(Endpoint.kind).wait(None) for _ in range(20)}  # type: ignore[arg-type]
    assert 7 <= min(waits) < max(waits) <= 7.7


def test_what_azure_cannot_tell(project: ReleaseProject) -> None:
    assert project.platform.load(ENDPOINT, "green", since=0) is None
    assert project.platform.logs(Endpoint.kind, ENDPOINT) == ""


def waited(project: ReleaseProject, kind: str, name: str, endpoint: str = "") -> Found:
    """As the steps wait: by the platform's patience, on a clock that only waiting moves."""
    patience = project.platform.patience(kind)

    def ready() -> Found | None:
        found = project.platform.get(kind, name, endpoint=endpoint)
        if found is None:
            raise ResourceNotFound(name)
        assert found.state != "Failed", (found.message, project.platform.logs(kind, name, endpoint=endpoint))
        return found if found.state == "Succeeded" else None

    return wait_until(
        ready, what=name, timeout_seconds=patience.timeout_seconds, wait=patience.wait, clock=project.clock
    )


def released(project: ReleaseProject) -> OnlineDeployment:
    """The steps of a release, each once."""
    platform = project.platform
    with platform.hold(ENDPOINT, owner="echo dev"):
        model = project.register()
        platform.set_alias(model, "dev")
        platform.create(project.endpoint())
        waited(project, Endpoint.kind, ENDPOINT)
        for access in platform.access(ENDPOINT):
            platform.create(access)
            waited(project, RoleAssignment.kind, access.name, ENDPOINT)
        live, wanted = platform.traffic(ENDPOINT), project.deployment(model)
        platform.create(wanted)
        waited(project, OnlineDeployment.kind, wanted.name, ENDPOINT)
        assert platform.invoke(ENDPOINT, {"question": "you"}, deployment=wanted.name).body == {"answer": "hello you"}
        rest = dict.fromkeys(live.weights, 50)
        for weights in ({**rest, wanted.name: 50 if rest else 100}, {wanted.name: 100}):
            before = platform.traffic(ENDPOINT)
            platform.set_traffic(ENDPOINT, weights, generation=before.generation, previous=live.weights)
            waited(project, Endpoint.kind, ENDPOINT)
            assert platform.traffic(ENDPOINT).weights == weights
        platform.tag(OnlineDeployment.kind, wanted.name, {"released": "yes"}, endpoint=ENDPOINT)
        waited(project, OnlineDeployment.kind, wanted.name, ENDPOINT)
    return wanted


@pytest.mark.real
@pytest.mark.usefixtures("blobs")
def test_two_releases_and_the_end_of_the_first(
    project: ReleaseProject, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    blue = released(project)
    project.candidate = project.take(
        **{"answer.py": "def answer(question: str) -> str:\n    return f'hello {question}'  # new\n"}
    )
    green, platform = released(project), project.platform
    assert blue.name != green.name
    assert platform.traffic(ENDPOINT).previous == {blue.name: 100}
    platform.delete(OnlineDeployment.kind, blue.name, endpoint=ENDPOINT)
    project.cloud.clock.sleep(1000)
    assert [each.name for each in platform.owned(OnlineDeployment.kind)] == [green.name]
    assert platform.invoke(ENDPOINT, {"question": "you"}).deployment == green.name
    assert capfd.readouterr() == ("", "")
    check_hosts(project.cloud)
    check_traffic(project.cloud)
    assert findings(project.cloud, tmp_path) == []


def check_hosts(cloud: Cloud) -> None:
    """No telemetry, no discovery of versions: only what the release needs. (That nobody was refused checks the fixture.)"""
    hosts = {urlsplit(each.url).hostname or "" for each in cloud.exchanges}
    blobs = {host for host in hosts if host.endswith(".blob.core.windows.net")}
    assert len(blobs) == 1
    assert hosts - blobs == {
        "login.microsoftonline.com",
        "management.azure.com",
        f"{ENDPOINT}.{cloud.region}.inference.ml.azure.com",
    }


def check_traffic(cloud: Cloud) -> None:
    """At every moment traffic added up, and only on deployments that were ready."""
    ready: set[str] = set()
    seen = []
    for change in cloud.arm.history:
        if "/deployments/" in change.path and change.verb == "Succeeded":
            ready.add(change.path.rsplit("/", 1)[-1])
        if change.path.endswith(f"/onlineEndpoints/{ENDPOINT}") and change.body:
            weights = change.body["properties"]["traffic"]
            seen.append(weights)
            assert sum(weights.values()) in (0, 100)
            assert set(weights) <= ready
    assert len(seen) > 6
