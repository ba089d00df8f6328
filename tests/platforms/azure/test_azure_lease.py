"""The lock of an endpoint on Azure: one holder, named; it lapses with its holder; a holder that lost it can't write."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient, BlobLeaseClient
from azure_emulator.faults import Reset, Status
from azure_emulator.machine_learning.datastores import DEFAULT
from release_project import ENDPOINT, ReleaseProject

from orchestration.errors import EndpointHeld, PlatformUnavailable
from orchestration.platforms.azure import lease as lease_module
from orchestration.platforms.azure.lease import FOLDER
from orchestration.platforms.azure.storage import open_container

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("blobs")]
HOLD = """
import sys
from pathlib import Path
from orchestration.platforms.azure.platform import AzurePlatform
from orchestration.settings import load_settings
platform = AzurePlatform(load_settings(Path(sys.argv[1]), "dev"))
with platform.hold(sys.argv[2], owner="the other run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def blob(project: ReleaseProject, endpoint: str = ENDPOINT) -> BlobClient:
    return open_container(project.session).get_blob_client(f"{FOLDER}/{endpoint}")


def take_away(project: ReleaseProject) -> BlobLeaseClient:
    """What happens to a holder that slept for too long: its lease lapses, and somebody else takes the lock."""
    BlobLeaseClient(blob(project)).break_lease(0)
    return blob(project).acquire_lease(15)


def test_a_second_holder_is_told_who_has_it(project: ReleaseProject) -> None:
    with project.platform.hold(ENDPOINT, owner="echo 12ab Straße dev"):
        with (
            pytest.raises(EndpointHeld, match=r"echo-dev is held by echo 12ab Straße dev \(.*, pid \d+, since 20"),
            project.platform.hold(ENDPOINT, owner="second"),
        ):
            pytest.fail("two hold it")
        with project.platform.hold("echo-prod", owner="another endpoint"):
            pass
    with project.platform.hold(ENDPOINT, owner="next"):
        assert blob(project).get_blob_properties().metadata["owner"] == "next"


def test_two_that_come_at_once_for_the_first_time(project: ReleaseProject) -> None:
    start, told = threading.Barrier(4), []

    def come() -> None:
        start.wait()
        try:
            with project.platform.hold(ENDPOINT, owner="x"):
                told.append("held")
                start.wait()
        except EndpointHeld:
            told.append("refused")
            start.wait()

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["held", "refused", "refused", "refused"]


def test_it_is_given_back_when_the_block_fails(project: ReleaseProject) -> None:
    with pytest.raises(ZeroDivisionError), project.platform.hold(ENDPOINT, owner="first"):
        _ = 1 / 0
    with project.platform.hold(ENDPOINT, owner="second"):
        pass


def test_a_killed_holder_is_gone_after_its_lease(project: ReleaseProject, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    code = HOLD.replace("platform =", "import orchestration.platforms.azure.lease as l; l.SECONDS = 15; platform =", 1)
    child = subprocess.Popen(
        [sys.executable, "-c", code, project.root, ENDPOINT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(EndpointHeld, match="the other run"), project.platform.hold(ENDPOINT, owner="me"):
        pytest.fail("two hold it")
    child.kill()
    child.wait()
    ended = threading.Event()
    for _ in range(40):
        try:
            with project.platform.hold(ENDPOINT, owner="me"):
                break
        except EndpointHeld:
            ended.wait(0.5)  # Azurite's own clock
    else:
        pytest.fail("the lease of a dead holder did not lapse")


def test_it_is_renewed_while_it_is_held(project: ReleaseProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_EVERY", 0.05)
    with project.platform.hold(ENDPOINT, owner="me"):
        before, waiting = lease_calls(project), threading.Event()
        while lease_calls(project) < before + 3:
            waiting.wait(0.02)
    assert ENDPOINT not in project.session.leases


def test_a_holder_that_slept_too_long_cannot_move_traffic(project: ReleaseProject) -> None:
    project.ready_endpoint()
    with project.platform.hold(ENDPOINT, owner="sleeper"):
        other = take_away(project)
        before = len(project.writes)
        with pytest.raises(EndpointHeld, match="echo-dev is held by"):
            project.platform.set_traffic(ENDPOINT, {}, generation=0)
        assert len(project.writes) == before
    other.renew()  # leaving did not take it from its new holder
    with pytest.raises(EndpointHeld), project.platform.hold(ENDPOINT, owner="me"):
        pytest.fail("two hold it")


def test_a_new_sign_in_forgets_no_lock(project: ReleaseProject) -> None:
    project.ready_endpoint()
    with project.platform.hold(ENDPOINT, owner="sleeper"):
        project.session.sign_in()
        project.configure()
        take_away(project)
        with pytest.raises(EndpointHeld):
            project.platform.set_traffic(ENDPOINT, {}, generation=0)


def test_a_holder_may_write_even_if_its_lease_lapsed_unnoticed(project: ReleaseProject) -> None:
    project.ready_endpoint()
    with project.platform.hold(ENDPOINT, owner="sleeper"):
        lease = project.session.leases[ENDPOINT]
        lease.check()
        assert project.platform.set_traffic(ENDPOINT, {}, generation=0).generation == 0


def test_a_storage_token_that_expired_is_replaced(project: ReleaseProject) -> None:
    expired = Status(403, "AuthenticationFailed", "Signature not valid in the specified time frame.")
    with project.platform.hold(ENDPOINT, owner="me"):
        lease = project.session.leases[ENDPOINT]
        project.cloud.scenario.fault("PUT", "blob", expired)
        tokens = secrets_asked(project)
        lease.check()
        assert secrets_asked(project) == tokens + 1
        lease.check()


def test_a_lost_connection_does_not_lose_the_lock(project: ReleaseProject) -> None:
    with project.platform.hold(ENDPOINT, owner="me"):
        lease = project.session.leases[ENDPOINT]
        project.cloud.scenario.fault("PUT", "blob", Reset(), times=3)
        with pytest.raises(PlatformUnavailable):
            lease.check()
        lease.check()


def test_a_release_whose_answer_is_lost_is_no_error(project: ReleaseProject) -> None:
    with project.platform.hold(ENDPOINT, owner="me"):
        project.cloud.scenario.fault("PUT", "blob", Reset(after_commit=True), times=3)


def test_without_access_to_the_storage_nothing_is_held(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("POST", "listSecrets", Status(403, "AuthorizationFailed", "Not for you."))
    with (
        pytest.raises(Exception, match=r"default datastore: AuthorizationFailed: Not for you\."),
        project.platform.hold(ENDPOINT, owner="me"),
    ):
        pytest.fail("nothing was held")
    assert project.session.leases == {}


def secrets_asked(project: ReleaseProject) -> int:
    return sum(f"/datastores/{DEFAULT}/listSecrets" in each.url for each in project.cloud.exchanges)


def lease_calls(project: ReleaseProject) -> int:
    return sum(each.method == "PUT" and "comp=lease" in each.url for each in project.cloud.exchanges)
