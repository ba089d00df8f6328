"""The registry on Azure: one version per content, sent once, the same one for repeats and races."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure_emulator.blob import BlobStorage
from azure_emulator.faults import Reset, Status
from release_project import ReleaseProject

from orchestration.errors import (
    ConfigurationError,
    PlatformError,
    PlatformUnavailable,
    ResourceNotFound,
    ResourceRefused,
)
from orchestration.tracking.model_folder import check_model_folder
from orchestration.values import ModelVersion

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("blobs")]


def blobs_sent(project: ReleaseProject) -> int:
    return sum(each.method == "PUT" and "/sluice/uploads/" in each.url for each in project.cloud.exchanges)


def tags_of(project: ReleaseProject, model: ModelVersion) -> dict[str, str]:
    found = project.cloud.see(f"{project.workspace.id}/models/{model.name}/versions/{model.version}")
    assert found is not None
    tags: dict[str, str] = found["properties"]["tags"]
    return tags


def test_a_version_is_named_by_its_content_and_says_by_which_decision(project: ReleaseProject) -> None:
    candidate = project.candidate
    assert project.platform.find_model("echo", candidate.content_hash) is None
    model = project.register()
    assert (model.name, model.version, model.decision) == ("echo", candidate.content_hash[:16], "d" * 64)
    assert model.uri == f"{project.workspace.id}/models/echo/versions/{model.version}"
    assert project.platform.find_model("echo", candidate.content_hash) == model
    tags = tags_of(project, model)
    wanted = {"content": candidate.content_hash, "commit": candidate.commit, "verdict": "PASS", "sluice": "1"}
    assert wanted.items() <= tags.items()
    assert all(isinstance(value, str) and len(value) <= 256 for value in tags.values())


def test_registering_it_again_sends_nothing(project: ReleaseProject) -> None:
    model = project.register()
    before = len(project.writes), blobs_sent(project)
    assert before[0] == 1
    assert before[1] > 10
    assert project.platform.register_model(project.candidate, decision="e" * 64, tags={}) == model
    assert (len(project.writes), blobs_sent(project)) == before


def test_what_was_sent_is_what_was_judged_byte_for_byte(project: ReleaseProject, tmp_path: Path) -> None:
    model = project.register()
    storage = project.cloud.of(BlobStorage)
    uri = project.cloud.see(model.uri)["properties"]["modelUri"]  # type: ignore[index]
    place = uri.partition("/paths/")[2]
    project.cloud.call(storage.download(project.workspace.container, place, tmp_path / "model"))
    check_model_folder(tmp_path / "model" / "echo", tags_of(project, model)["manifest"])


def test_two_runs_at_once_end_at_the_same_version(project: ReleaseProject) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: project.register(), range(2)))
    assert found[0] == found[1]
    versions = [each for each in project.cloud.arm.history if "/models/echo/versions/" in each.path]
    assert {each.path for each in versions} == {found[0].uri}


def test_a_conflict_is_settled_by_the_content_that_is_there(project: ReleaseProject) -> None:
    model = project.register()
    path = project.cloud.arm.peek(model.uri)
    assert path is not None
    # The look before the write finds nothing yet; then the other run's version is in the way.
    project.cloud.scenario.fault("GET", "models/versions", Status(404, "NotFound", "Not yet."))
    project.cloud.scenario.fault("PUT", "models/versions", Status(409, "UserError", "Asset paths cannot be updated."))
    assert project.register() == model
    path.properties["tags"]["content"] = "9" * 64
    project.cloud.scenario.fault("GET", "models/versions", Status(404, "NotFound", "Not yet."))
    project.cloud.scenario.fault("PUT", "models/versions", Status(409, "UserError", "Asset paths cannot be updated."))
    with pytest.raises(ResourceRefused, match=r"has other content than its name says.*az ml model archive -n echo"):
        project.register()


def test_a_version_that_somebody_else_made_is_refused(project: ReleaseProject) -> None:
    model = project.register()
    resource = project.cloud.arm.peek(model.uri)
    assert resource is not None
    resource.properties["tags"] = {}
    before = len(project.writes)
    with pytest.raises(ResourceRefused, match="carries no tag 'sluice'"):
        project.register()
    assert len(project.writes) == before


@pytest.mark.parametrize("times", [1, 4])
def test_a_lost_answer_is_settled_by_looking(project: ReleaseProject, times: int) -> None:
    project.cloud.scenario.fault("PUT", "models/versions", Reset(after_commit=True), times=times)
    model = project.register()
    assert project.platform.find_model("echo", project.candidate.content_hash) == model


def test_a_write_that_never_arrived_is_unavailable_and_repeated_without_harm(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("PUT", "models/versions", Reset(), times=4)
    with pytest.raises(PlatformUnavailable, match="register echo"):
        project.register()
    sent = blobs_sent(project)
    assert sent > 10
    project.register()
    assert blobs_sent(project) == sent  # the files lie there under their hash


def test_a_file_that_cannot_be_sent_is_an_error_and_the_rest_is_sent_again(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("PUT", "blob", Status(403, "AuthorizationFailure", "The network is closed."))
    with pytest.raises(ConfigurationError, match="send echo to the workspace's storage"):
        project.register()
    assert project.writes == []
    sent = blobs_sent(project)
    model = project.register()
    assert blobs_sent(project) >= 2 * sent - 1
    assert project.platform.find_model("echo", project.candidate.content_hash) == model


def test_a_snapshot_that_was_changed_since_is_not_registered(project: ReleaseProject) -> None:
    file = project.candidate.folder / "flow" / "answer.py"
    file.chmod(0o644)
    file.write_text("def answer(question):\n    return 'something else'\n")
    with pytest.raises(PlatformError, match="is not as it was judged"):
        project.register()
    assert project.writes == []


def test_an_alias_is_a_note_for_people(project: ReleaseProject) -> None:
    model = project.register()
    before = blobs_sent(project)
    project.platform.set_alias(model, "dev")
    assert tags_of(project, model)["alias.dev"].startswith("20")
    assert project.platform.find_model("echo", model.content_hash) == model
    assert blobs_sent(project) == before > 0
    with pytest.raises(ResourceNotFound, match="echo nothing is not registered"):
        project.platform.set_alias(ModelVersion("echo", "nothing", "9" * 64, ""), "dev")
