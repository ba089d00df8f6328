"""Endpoints on Azure: looked at before anything is written, ours or refused, absent only if they truly are."""

from __future__ import annotations

import pytest
from azure_emulator import Cloud
from azure_emulator.faults import OperationFails, Reset, StaleRead, Status
from azure_emulator.machine_learning.workspaces import add_workspace
from release_project import ENDPOINT, OWNER, ReleaseProject, release_project

from orchestration.errors import ConfigurationError, PlatformConflict, PlatformUnavailable, ResourceRefused
from orchestration.platforms.base import Endpoint

KIND = Endpoint.kind
PUT = f"PUT onlineEndpoints/{ENDPOINT}"


def stranger(project: ReleaseProject, **more: object) -> str:
    """An endpoint that somebody else made; returns its path."""
    path = f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}"
    properties = {"authMode": "Key", "traffic": {}, "mirrorTraffic": {}, "provisioningState": "Succeeded"}
    body = {"location": "westeurope", "tags": {"team": "others"}, "properties": properties, **more}
    project.cloud.arm.seed(path, body)
    return path


def test_an_endpoint_is_created_and_waited_for_without_the_sdks_own_pollers(
    project: ReleaseProject, capfd: pytest.CaptureFixture[str]
) -> None:
    platform = project.platform
    assert platform.get(KIND, ENDPOINT) is None
    platform.create(project.endpoint())
    found = platform.get(KIND, ENDPOINT)
    assert found is not None
    assert (found.state, dict(found.tags)) == ("Creating", OWNER)
    project.cloud.clock.sleep(100)
    again = platform.get(KIND, ENDPOINT)
    assert again is not None
    assert again.state == "Succeeded"
    assert project.writes == [PUT]
    assert not [each for each in project.cloud.exchanges if "OperationsStatus" in each.url]
    assert capfd.readouterr() == ("", "")


def test_creating_it_again_writes_nothing(project: ReleaseProject) -> None:
    project.platform.create(project.endpoint())
    project.platform.create(project.endpoint())  # while it is being created
    project.cloud.clock.sleep(1000)
    project.platform.create(project.endpoint())
    assert project.writes == [PUT]


def test_what_is_not_ours_is_refused_and_nothing_is_written(project: ReleaseProject) -> None:
    stranger(project)
    with pytest.raises(ResourceRefused, match="carries no tag 'sluice'"):
        project.platform.create(project.endpoint())
    with pytest.raises(ResourceRefused):
        project.platform.delete(KIND, ENDPOINT)
    with pytest.raises(ResourceRefused):
        project.platform.tag(KIND, ENDPOINT, {"a": "b"})
    with pytest.raises(ResourceRefused):
        project.platform.set_traffic(ENDPOINT, {}, generation=0)
    assert project.writes == []


def test_a_bad_name_is_refused_before_anybody_is_asked(project: ReleaseProject) -> None:
    with pytest.raises(ConfigurationError, match=r"'echo_dev' is not valid.*'echo-dev'"):
        project.platform.create(Endpoint("echo_dev"))
    assert project.cloud.exchanges == []


def test_a_name_that_another_workspace_of_the_region_has(cloud: Cloud, project: ReleaseProject) -> None:
    project.ready_endpoint()
    other = release_project(project.root.parent / "other", cloud)
    with pytest.raises(ResourceRefused, match=r"unique within the region.*set another endpoint\.name"):
        other.platform.create(other.endpoint())


def test_absent_is_not_said_of_a_workspace_that_is_gone(project: ReleaseProject) -> None:
    project.cloud.arm.resources.pop(project.workspace.id.lower())
    with pytest.raises(ConfigurationError, match=r"workspaces/studio' under resource group 'team' was not found"):
        project.platform.get(KIND, ENDPOINT)
    project.cloud.scenario.fault("GET", "onlineEndpoints", Status(404, "NotFound", "Nothing is here."))
    with pytest.raises(ConfigurationError, match=r"there is no workspace studio.*az ml workspace list -g team"):
        project.platform.get(KIND, ENDPOINT)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AuthorizationFailed", ConfigurationError),
        (401, "InvalidAuthenticationToken", PlatformUnavailable),
        (503, "ServiceUnavailable", PlatformUnavailable),
        (400, "BadRequest", Exception),
    ],
)
def test_absent_is_not_said_of_what_could_not_be_read(
    project: ReleaseProject, status: int, code: str, expected: type[Exception]
) -> None:
    project.ready_endpoint()
    project.cloud.scenario.fault("GET", "onlineEndpoints", Status(status, code, "No."), times=4)
    with pytest.raises(expected, match=f"read the endpoint {ENDPOINT}: {code}: No"):
        project.platform.get(KIND, ENDPOINT)


def test_a_refused_token_is_followed_by_a_new_sign_in(project: ReleaseProject) -> None:
    project.ready_endpoint()
    first = project.session.credential
    refused = Status(401, "ExpiredAuthenticationToken", "The access token expired.")
    project.cloud.scenario.fault("GET", "onlineEndpoints", refused)
    with pytest.raises(PlatformUnavailable):
        project.platform.get(KIND, ENDPOINT)
    project.configure()  # a new platform, as every attempt of a step has one
    assert project.session.credential is not first
    assert project.platform.get(KIND, ENDPOINT) is not None
    second = project.session.credential
    assert project.session.credential is second


def test_one_that_is_being_deleted_is_in_the_way(project: ReleaseProject) -> None:
    project.ready_endpoint()
    project.platform.delete(KIND, ENDPOINT)
    project.platform.delete(KIND, ENDPOINT)  # under way: done
    with pytest.raises(PlatformConflict, match="is being deleted"):
        project.platform.create(project.endpoint())
    project.cloud.clock.sleep(1000)
    assert project.platform.get(KIND, ENDPOINT) is None
    project.platform.delete(KIND, ENDPOINT)
    assert [each for each in project.writes if "roleAssignments" not in each] == [
        PUT,
        f"DELETE onlineEndpoints/{ENDPOINT}",
    ]


def test_a_failed_one_says_why_and_is_written_again(project: ReleaseProject) -> None:
    fault = OperationFails("OutOfQuota", "Not enough quota for Standard_DS3_v2.")
    project.cloud.scenario.fault("PUT", "onlineEndpoints", fault)
    project.ready_endpoint()
    found = project.platform.get(KIND, ENDPOINT)
    assert found is not None
    assert found.state == "Failed"
    assert found.message.startswith("OutOfQuota: Not enough quota for Standard_DS3_v2. Ask for quota (az ml")
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Status(409, "Conflict", "Another operation is under way."))
    with pytest.raises(PlatformConflict, match="Another operation"):
        project.platform.create(project.endpoint())
    project.ready_endpoint()
    again = project.platform.get(KIND, ENDPOINT)
    assert again is not None
    assert (again.state, again.message) == ("Succeeded", "")
    assert project.writes == [PUT, PUT, PUT]


@pytest.mark.parametrize("times", [1, 4])
def test_a_lost_answer_is_settled_by_looking(project: ReleaseProject, times: int) -> None:
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Reset(after_commit=True), times=times)
    project.platform.create(project.endpoint())
    project.cloud.clock.sleep(1000)
    found = project.platform.get(KIND, ENDPOINT)
    assert found is not None
    assert found.state == "Succeeded"


def test_a_write_that_never_arrived_is_unavailable(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Reset(), times=4)
    with pytest.raises(PlatformUnavailable, match=f"write the endpoint {ENDPOINT}"):
        project.platform.create(project.endpoint())
    assert project.platform.get(KIND, ENDPOINT) is None


def test_a_short_outage_is_the_sdks_to_survive(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Status(503, "ServiceUnavailable", "Later."), times=3)
    project.platform.create(project.endpoint())
    assert 0 < project.cloud.clock.now() < 60  # the SDK's own pauses, by the product's clock


def test_an_answer_that_asks_for_hours_does_not_get_them(project: ReleaseProject) -> None:
    throttled = Status(429, "TooManyRequests", "Come back later.", {"Retry-After": "36000"})
    project.cloud.scenario.fault("PUT", "onlineEndpoints", throttled, times=4)
    with pytest.raises(PlatformUnavailable, match="TooManyRequests: Come back later"):
        project.platform.create(project.endpoint())
    assert project.cloud.clock.now() == 3 * 60


def test_tags_are_merged_and_nothing_else_changes(project: ReleaseProject) -> None:
    project.ready_endpoint()
    before = project.cloud.see(f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}")
    project.platform.tag(KIND, ENDPOINT, {"note": "x" * 1000})
    project.cloud.clock.sleep(1000)
    project.platform.tag(KIND, ENDPOINT, {"note": "x" * 256})  # as it is: nothing is written
    after = project.cloud.see(f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}")
    assert before is not None
    assert after is not None
    assert after["tags"] == {**OWNER, "note": "x" * 256}
    assert after["properties"]["traffic"] == before["properties"]["traffic"]
    assert project.writes == [PUT, f"PATCH onlineEndpoints/{ENDPOINT}"]


def test_those_of_ours_are_found_by_their_tag_over_many_pages(project: ReleaseProject) -> None:
    project.cloud.scenario.page_size = 2
    stranger(project)
    for number in range(5):
        project.platform.create(Endpoint(f"echo-{number}", tags=OWNER))
    assert [each.name for each in project.platform.owned(KIND)] == [f"echo-{number}" for number in range(5)]


def test_a_stale_read_of_a_new_endpoint_is_no_reason_to_write_twice(project: ReleaseProject) -> None:
    project.platform.create(project.endpoint())
    project.cloud.scenario.fault("GET", "onlineEndpoints", StaleRead())
    project.platform.create(project.endpoint())
    assert [each for each in project.cloud.arm.history if each.verb == "Creating"][1:] == []


def test_another_workspace_has_endpoints_of_its_own(cloud: Cloud, project: ReleaseProject) -> None:
    project.ready_endpoint()
    project.workspace = add_workspace(cloud, resource_group="team", name="studio")
    project.configure()
    assert project.platform.get(KIND, ENDPOINT) is None
    assert project.platform.owned(KIND) == []
