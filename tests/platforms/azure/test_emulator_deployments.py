"""Online deployments of the emulated cloud: containers that really run, and all the ways in which they don't."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure_clients import lead_to
from azure_emulator import Cloud, emulator
from azure_emulator.containers import Containers
from endpoint_world import ENDPOINT, LONG, ROUTES, World, make_world
from spec_check import findings

pytestmark = pytest.mark.real


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    """A workspace with the model `echo`, an environment and an endpoint."""
    made = make_world(cloud, tmp_path)
    made.model()
    made.environment()
    made.endpoint()
    return made


def test_a_model_is_deployed_called_and_removed_by_the_real_client(world: World, tmp_path: Path) -> None:
    ml = world.ml
    poller = ml.online_deployments.begin_create_or_update(world.order(environment_variables={"WHO": "blue"}))
    assert (world.state(), poller.done()) == ("Creating", False)
    world.cloud.clock.sleep(LONG)
    assert world.state() == "Succeeded"
    assert poller.result(20).name == "blue"
    assert world.score().status_code == 404
    assert world.who(to="blue") == "blue"
    world.traffic(blue=100)
    request = tmp_path / "request.json"
    request.write_text('{"variables": ["AML_DEPLOYMENT_RESOURCE_ID"]}')
    answer = json.loads(ml.online_endpoints.invoke(ENDPOINT, request_file=str(request)))
    assert (answer["who"], answer["files"]) == ("blue", ["model-echo/flow.dag.yaml"])
    assert answer["variables"]["AML_DEPLOYMENT_RESOURCE_ID"].endswith(f"onlineEndpoints/{ENDPOINT}/deployments/blue")
    assert world.logs(lines=2).splitlines()[-2:] == ["asked: {}", f"asked: {request.read_text()}"]
    assert "Downloaded LocalUpload/" in world.logs(container="storage-initializer")
    with pytest.raises(HttpResponseError, match="has 100% of the traffic"):
        ml.online_deployments.begin_delete("blue", ENDPOINT)
    world.traffic()
    ml.online_deployments.begin_delete("blue", ENDPOINT)
    world.settled()
    assert list(ml.online_deployments.list(ENDPOINT)) == []
    ml.online_endpoints.begin_delete(ENDPOINT)
    with pytest.raises(ResourceNotFoundError):
        world.settled()
    assert findings(world.cloud, tmp_path) == []


def test_paths_inside_the_container_lead_to_its_own_folders(world: World) -> None:
    world.deploy(environment_variables={"WHO": "blue", "FLOW": "/var/azureml-app/azureml-models/echo"})
    told = world.score({"variables": ["AZUREML_MODEL_DIR", "FLOW", "SOURCES"]}, to="blue").json()["variables"]
    assert Path(told["AZUREML_MODEL_DIR"]) == Path(told["FLOW"]) / "c0ffee"
    library, other = told["SOURCES"].split(":")
    assert (Path(library).parent / "server.py").exists()
    assert other == "/application"


@pytest.mark.parametrize(
    ("variables", "said", "logged"),
    [
        ({"CRASH": "1"}, "User container has crashed or terminated.", "no such prompt flow"),
        ({"HEALTH": "503"}, "Liveness probe failed: HTTP probe failed with statuscode: 503.", "serving"),
    ],
)
def test_a_container_that_does_not_come_up_fails_its_deployment(
    world: World, variables: dict[str, str], said: str, logged: str
) -> None:
    world.cloud.of(Containers).start_seconds = 2.0
    assert world.deploy(environment_variables=variables) == "Failed"
    assert world.failure().startswith("ResourceNotReady: ")
    assert said in world.failure()
    assert "UserContainerStart: Failed" in world.logs()
    assert logged in world.logs().splitlines()
    assert world.score(to="blue").status_code == 404
    with pytest.raises(HttpResponseError, match="blue is in Failed provisioning state"):
        world.put_traffic(blue=100)


def test_the_poller_of_the_real_client_raises_the_failure(world: World) -> None:
    poller = world.ml.online_deployments.begin_create_or_update(world.order(environment_variables={"CRASH": "1"}))
    world.cloud.clock.sleep(LONG)
    with pytest.raises(HttpResponseError, match=r"^\(None\) ResourceNotReady: User container has crashed"):
        poller.result(20)


def test_a_failed_deployment_is_removed_or_ordered_again(world: World) -> None:
    assert world.deploy(environment_variables={"CRASH": "1"}) == "Failed"
    assert world.deploy(environment_variables={"WHO": "blue"}) == "Succeeded"
    assert world.who(to="blue") == "blue"


def test_an_update_replaces_the_container_and_a_failed_one_leaves_it(world: World) -> None:
    world.deploy(environment_variables={"WHO": "first"})
    first = world.score(to="blue").json()
    world.begin(environment_variables={"WHO": "second"})
    assert (world.state(), world.score(to="blue").json()["who"]) == ("Updating", "first")
    world.cloud.clock.sleep(LONG)
    assert (world.state(), world.score(to="blue").json()["who"]) == ("Succeeded", "second")
    assert not psutil.pid_exists(first["pid"])
    assert world.deploy(environment_variables={"CRASH": "1"}) == "Failed"
    assert world.score(to="blue").json()["who"] == "second"


def test_what_a_deployment_needs_must_be_there(world: World) -> None:
    for more in ({"model": "echo:none"}, {"environment": "serving:none"}, {"endpoint_name": "nobody"}):
        with pytest.raises(ResourceNotFoundError):
            world.begin(**more)
    for more in ({"instance_type": "Large"}, {"instance_count": 0}):
        with pytest.raises(HttpResponseError, match=r"instance (type|count)"):
            world.begin(**more)


def test_model_files_and_images_that_cannot_be_had_fail_the_deployment(world: World) -> None:
    from azure.ai.ml.entities import Environment, Model

    nowhere = "azureml://datastores/workspaceblobstore/paths/nowhere"
    world.ml.models.create_or_update(Model(name="gone", version="1", path=nowhere))
    assert world.deploy("one", model="gone:1") == "Failed"
    assert world.failure("one").startswith("BadArgument: The model")
    image = Environment(name="frozen", version="1", image="registry.example/frozen:1", inference_config=ROUTES)
    world.ml.environments.create_or_update(image)
    assert world.deploy("two", environment="frozen:1") == "Failed"
    assert "could not be pulled" in world.failure("two")
    context = world.files("context-1", server__py="")
    world.cloud.of(Containers).images.commands["registry.example/frozen:1"] = ["python", str(context / "server.py")]
    assert world.deploy("three", environment="frozen:1") == "Failed"
    assert world.failure("three").startswith("ResourceNotReady: ")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Containerfile": "FROM scratch"}, "neither CMD nor ENTRYPOINT"),
        ({"lock__txt": "no-such-package-at-all==1.0"}, "can't be built"),
    ],
)
def test_an_image_that_cannot_be_built_fails_the_deployment(world: World, files: dict[str, str], said: str) -> None:
    world.environment("2", **files)
    assert world.deploy(environment="serving:2") == "Failed"
    assert world.failure().startswith("ImageBuildFailure: ")
    assert said in world.failure()


def test_nothing_is_deployed_to_an_endpoint_that_is_busy(world: World) -> None:
    world.deploy(environment_variables={"WHO": "blue"})
    world.put_traffic(blue=100)
    with pytest.raises(ResourceExistsError, match="because it is in Updating provisioning state"):
        world.begin("green")
    with pytest.raises(ResourceExistsError, match="another operation on same entity is already running"):
        world.put_traffic()
    world.settled()
    world.begin("green")
    with pytest.raises(ResourceExistsError, match="another operation on same entity is already running"):
        world.begin("green")


def test_all_processes_end_with_the_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(psutil.Process().children(recursive=True))
    with emulator() as cloud:
        lead_to(cloud, monkeypatch)
        world = make_world(cloud, tmp_path)
        world.model()
        world.environment()
        world.endpoint()
        world.deploy()
        started = set(psutil.Process().children(recursive=True)) - before
        names = " ".join(word for process in started for word in process.cmdline())
        assert "server.py" in names
        assert "azurite" in names
    assert [process for process in started if process.is_running()] == []
