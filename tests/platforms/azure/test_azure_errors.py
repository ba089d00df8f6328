"""Azure's refusals as errors of ours: the class by what is said, one line, the next command, no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure_emulator import Cloud
from azure_emulator.faults import MATRIX, Delay, Status, Truncated, WrongJson
from azure_emulator.wire import Request, Response, error
from release_project import ENDPOINT, ReleaseProject

from orchestration.errors import (
    ConfigurationError,
    PlatformConflict,
    PlatformError,
    PlatformUnavailable,
    ProvisioningFailed,
    ResourceNotFound,
    ResourceRefused,
    SluiceError,
)
from orchestration.platforms.azure.errors import refusal, translated
from orchestration.platforms.azure.faults import FAILURES, LONGEST, Said, explained, one_line, said, said_by
from orchestration.platforms.azure.platform import AzurePlatform
from orchestration.platforms.base import Endpoint, OnlineDeployment, RoleAssignment
from orchestration.values import Binding, ModelVersion


def body(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (400, body("QuotaExceeded", "Operation could not be completed as it results in exceeding quota."), ProvisioningFailed),
        (400, body("BadRequest", "Not enough quota available for Standard_DS3_v2."), ProvisioningFailed),
        (409, body("OutOfCapacity", "The region has no capacity."), ProvisioningFailed),
        (400, body("BadRequest", "The endpoint name must be unique within a region."), ResourceRefused),
        (409, body("RoleAssignmentUpdateNotPermitted", "Not allowed to be updated."), ResourceRefused),
        (400, body("UserError", "Cannot create a deployment in endpoint e because it is in Updating provisioning state."), PlatformConflict),
        (400, body("UserError", "Conflict of operation, another operation on same entity is already running in workspace w."), PlatformConflict),
        (400, body("OperationCanceled", "The operation was canceled."), PlatformConflict),
        (400, body("PrincipalNotFound", "Principal 0 does not exist in the directory t."), PlatformConflict),
        (404, body("ResourceGroupNotFound", "Resource group 'g' could not be found."), ConfigurationError),
        (404, body("SubscriptionNotFound", "The subscription 's' could not be found."), ConfigurationError),
        (404, body("ResourceNotFound", "The Resource 'Microsoft.MachineLearningServices/workspaces/w' under resource group 'g' was not found."), ConfigurationError),
        (404, body("ResourceNotFound", "The Resource 'Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e' under resource group 'g' was not found."), ResourceNotFound),
        (404, body("UserError", "Not found.", innerError={"code": "NotFoundError"}), ResourceNotFound),
        (401, body("ExpiredAuthenticationToken", "The access token expiry is past."), PlatformUnavailable),
        (401, body("AuthenticationFailed", "Authentication failed."), ConfigurationError),
        (403, body("AuthorizationFailed", "The client does not have authorization."), ConfigurationError),
        (403, {"message": "no envelope"}, ConfigurationError),
        (409, body("Conflict", "There is something."), PlatformConflict),
        (412, body("PreconditionFailed", "If-Match."), PlatformConflict),
        (408, None, PlatformUnavailable),
        (429, body("TooManyRequests", "Slow down."), PlatformUnavailable),
        (500, body("InternalServerError", "Sorry."), PlatformUnavailable),
        (502, None, PlatformUnavailable),
        (504, body("GatewayTimeout", "No answer."), PlatformUnavailable),
        (400, body("ValidationError", "The property 'x' is required."), PlatformError),
        (501, None, PlatformError),
    ],
)  # fmt: skip
def test_what_is_said_decides_before_the_status(status: int, answer: Any, expected: type[SluiceError]) -> None:
    refused = refusal("write the endpoint e", said_by(answer, status=status))
    assert type(refused) is expected or (expected is PlatformUnavailable and isinstance(refused, expected))
    assert str(refused).startswith("Azure did not write the endpoint e: ")
    assert "\n" not in str(refused)


@pytest.mark.parametrize(
    ("answer", "codes", "text"),
    [
        (body("", "(None) ResourceNotReady: User container has crashed."), ("ResourceNotReady",), "(None) ResourceNotReady: User container has crashed. The container crashed"),
        (body("ResourceNotReady", "User container has crashed."), ("ResourceNotReady",), "ResourceNotReady: User container has crashed. The container crashed"),
        ({"code": "BadArgument", "message": "The image could not be pulled."}, ("BadArgument",), "BadArgument: The image could not be pulled. Check that"),
        (body("UserError", "It failed.", innerError={"code": "X", "innerError": {"code": "ImageBuildFailure"}}), ("UserError", "X", "ImageBuildFailure"), "ImageBuildFailure: It failed. Read the end of azureml/ImageLogs/"),
        (body("Unheard", "Of."), ("Unheard",), "Unheard: Of."),
        ("no JSON object", (), "no reason given"),
    ],
)  # fmt: skip
def test_why_a_resource_failed_is_found_in_code_inner_code_or_prefix(
    answer: Any, codes: tuple[str, ...], text: str
) -> None:
    found = said_by(answer)
    assert found.codes == codes
    assert explained(found).startswith(text)


def test_every_code_of_managed_endpoints_has_a_next_thing_to_do() -> None:
    published = {
        "ImageBuildFailure", "OutOfQuota", "BadArgument", "ResourceNotReady", "ResourceNotFound", "OperationCanceled",
        "InternalServerError",
    }  # fmt: skip
    assert published <= set(FAILURES)
    assert all(explained(Said(None, (code,), "It failed.")).startswith(f"{code}: It failed. ") for code in published)


def test_tokens_keys_and_signatures_are_left_out_and_long_texts_cut() -> None:
    text = (
        "GET https://a.blob.core.windows.net/c/b?se=2026&sig=abc%2Fdef%3D&sp=r\nBearer eyJhbGciOi.x.y failed; "
        "AccountKey=zzz111==; {'api_key': 'k-123'}"
    )
    clean = one_line(text)
    for secret in ("abc%2Fdef", "eyJhbGciOi", "zzz111", "k-123"):
        assert secret not in clean
    assert "\n" not in clean
    assert len(one_line("x" * 10_000)) == LONGEST


def test_an_answer_that_was_never_read_is_no_crash() -> None:
    assert said(HttpResponseError("Nobody answered.")) == Said(None, (), "Nobody answered.")


def test_a_bug_of_ours_stays_a_bug() -> None:
    with pytest.raises(KeyError), translated("do it"):
        raise KeyError("ours")
    with pytest.raises(ResourceNotFound), translated("do it"):
        raise ResourceNotFound("as it is")


READS = {name: fault for name, fault in MATRIX.items() if not name.startswith(("operation", "stale", "400", "404"))}


@pytest.mark.parametrize("fault", READS.values(), ids=READS)
def test_a_read_ends_in_an_error_of_ours_or_in_what_is_there(project: ReleaseProject, fault: Any) -> None:
    """The whole matrix through the unchanged SDK: four times each, which is more than it repeats."""
    project.ready_endpoint()
    project.cloud.scenario.fault("GET", "onlineEndpoints", fault, times=4)
    if isinstance(fault, Delay):
        found = project.platform.get(Endpoint.kind, ENDPOINT)
        assert found is not None
        assert found.state == "Succeeded"
        return
    with pytest.raises(expected(fault)) as raised:
        project.platform.get(Endpoint.kind, ENDPOINT)
    assert "\n" not in str(raised.value)


def expected(fault: Any) -> type[SluiceError]:
    if isinstance(fault, Status):
        kinds = {401: PlatformUnavailable, 403: ConfigurationError, 409: PlatformConflict, 412: PlatformConflict}
        return kinds.get(fault.status, PlatformUnavailable)
    return PlatformUnavailable


@pytest.mark.parametrize("answer", [b"[]", b'"text"', b"{}", b'{"properties": null}', b"null", b"<html>login</html>"])
def test_answers_of_another_shape_are_unavailable_and_no_traceback(project: ReleaseProject, answer: bytes) -> None:
    project.ready_endpoint()
    project.cloud.scenario.fault("GET", "onlineEndpoints", WrongJson(answer), times=4)
    with pytest.raises(PlatformUnavailable, match=f"read the endpoint {ENDPOINT}"):
        project.platform.get(Endpoint.kind, ENDPOINT)


def test_a_truncated_answer_to_a_write_is_settled_by_looking(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Truncated(), times=4)
    project.platform.create(project.endpoint())
    assert project.platform.get(Endpoint.kind, ENDPOINT) is not None


def test_nobody_is_there(project: ReleaseProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(PlatformUnavailable, match=r"Azure can't be reached to sign in.*Check network, proxy and DNS"):
        project.platform.get(Endpoint.kind, ENDPOINT)


def test_a_sign_in_that_is_not_available_is_no_wrong_password(cloud: Cloud, project: ReleaseProject) -> None:
    cloud.scenario.fault("POST", "token", Status(503, "temporarily_unavailable", "AADSTS90033: Try again."), times=9)
    with pytest.raises(PlatformUnavailable):
        project.platform.get(Endpoint.kind, ENDPOINT)


WANTED = OnlineDeployment("green", ENDPOINT, ModelVersion("echo", "1", "c" * 64, ""), Binding("dev", {}, "b"), Path())
ROLE = RoleAssignment("name", "/scope", "principal", "role", ENDPOINT)
METHODS: dict[str, Callable[[AzurePlatform], object]] = {
    "create endpoint": lambda platform: platform.create(Endpoint(ENDPOINT)),
    "create deployment": lambda platform: platform.create(WANTED),
    "create role": lambda platform: platform.create(ROLE),
    "get endpoint": lambda platform: platform.get(Endpoint.kind, ENDPOINT),
    "get deployment": lambda platform: platform.get(OnlineDeployment.kind, "green", endpoint=ENDPOINT),
    "get role": lambda platform: platform.get(RoleAssignment.kind, "name", endpoint=ENDPOINT),
    "delete endpoint": lambda platform: platform.delete(Endpoint.kind, ENDPOINT),
    "delete deployment": lambda platform: platform.delete(OnlineDeployment.kind, "green", endpoint=ENDPOINT),
    "delete role": lambda platform: platform.delete(RoleAssignment.kind, "name", endpoint=ENDPOINT),
    "owned endpoints": lambda platform: platform.owned(Endpoint.kind),
    "owned deployments": lambda platform: platform.owned(OnlineDeployment.kind),
    "owned deployments of one": lambda platform: platform.owned(OnlineDeployment.kind, endpoint=ENDPOINT),
    "owned roles": lambda platform: platform.owned(RoleAssignment.kind),
    "tag endpoint": lambda platform: platform.tag(Endpoint.kind, ENDPOINT, {}),
    "tag deployment": lambda platform: platform.tag(OnlineDeployment.kind, "green", {}, endpoint=ENDPOINT),
    "access": lambda platform: platform.access(ENDPOINT),
    "traffic": lambda platform: platform.traffic(ENDPOINT),
    "set traffic": lambda platform: platform.set_traffic(ENDPOINT, {}, generation=0),
    "hold": lambda platform: platform.hold(ENDPOINT, owner="x").__enter__(),
    "invoke": lambda platform: platform.invoke(ENDPOINT, {}),
    "url": lambda platform: platform.url(ENDPOINT),
    "example": lambda platform: platform.example(ENDPOINT, {}),
    "find model": lambda platform: platform.find_model("echo", "c" * 64),
    "set alias": lambda platform: platform.set_alias(WANTED.model, "dev"),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_nothing_but_errors_of_ours_leaves_the_platform(
    project: ReleaseProject, method: Callable[[AzurePlatform], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = [True]

    async def forbid(request: Request) -> Response | None:
        return None if allowed[0] else error(403, "AuthorizationFailed", "The client may not.")

    project.cloud.route(r"management\.azure\.com", forbid)
    project.session.details()  # signed in
    allowed[0] = False
    with pytest.raises(ConfigurationError, match=r"AuthorizationFailed: The client may not\..*docs/azure-setup\.md"):
        method(project.platform)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(PlatformUnavailable, match="Check network, proxy and DNS"):
        method(project.platform)
    assert project.writes == []
