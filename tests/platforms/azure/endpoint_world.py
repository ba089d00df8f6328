"""A workspace of the emulated cloud with blob storage, and short ways to have things in it."""

from __future__ import annotations

import json
import textwrap
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure_clients import SUBSCRIPTION, bearer, studio
from azure_emulator import Cloud
from azure_emulator.blob import unavailable
from azure_emulator.machine_learning import Workspace, add_workspace

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint

VERSION = "2024-04-01"
ENDPOINT = "echo-dev"
LONG = 10_000.0  # seconds in which everything ends
# A whole serving framework: health at once, each request does what its body says.
SERVER = """
    import json, os, sys, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.answer(int(os.environ.get("HEALTH", 200)), {})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            print("asked:", json.dumps(asked), flush=True)
            time.sleep(asked.get("sleep", 0))
            root = os.environ["AZUREML_MODEL_DIR"]
            files = [os.path.relpath(os.path.join(d, f), root) for d, _, fs in os.walk(root) for f in fs]
            kept = {name: os.environ.get(name) for name in asked.get("variables", [])}
            told = {"who": os.environ.get("WHO"), "files": sorted(files), "pid": os.getpid(), "variables": kept}
            self.answer(asked.get("status", 200), told)

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    if "CRASH" in os.environ:
        sys.exit("no such prompt flow")
    ThreadingHTTPServer.handle_error = lambda *_: None  # a probe that hangs up is no news
    print("serving", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SLUICE_PORT"])), Handler).serve_forever()
"""
CONTAINERFILE = """
    # Serves whatever is mounted.
    FROM docker.io/library/python:3.11-slim
    WORKDIR /app
    COPY server.py server.py
    ENV WHO=nobody \\
        SOURCES=/app/lib:/application
    CMD ["python", "server.py"]
"""
ROUTES = {
    "liveness_route": {"path": "/health", "port": 8080},
    "readiness_route": {"path": "/health", "port": 8080},
    "scoring_route": {"path": "/score", "port": 8080},
}


class World:
    """One workspace, its client, and the clock that moves only when a test says so."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.workspace: Workspace = add_workspace(
            cloud, subscription_id=SUBSCRIPTION, resource_group="team", name="studio"
        )
        self.headers = bearer(cloud)
        self._threads = threading.local()

    @cached_property
    def ml(self) -> MLClient:
        return studio(self.cloud)

    def files(self, name: str, **content: str) -> Path:
        """A folder below the test's own; dots in file names are written `__`."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in content.items():
            (folder / file.replace("__", ".")).write_text(textwrap.dedent(text).lstrip())
        return folder

    def model(self, name: str = "echo", version: str = "c0ffee", **tags: str) -> Any:
        from azure.ai.ml.entities import Model

        path = self.files(f"model-{name}", flow__dag__yaml="nodes: []\n")
        return self.ml.models.create_or_update(Model(name=name, version=version, path=str(path), tags=tags))

    def environment(self, version: str = "1", **files: str) -> Any:
        """The environment `serving`, with other files in its build context if they are given."""
        from azure.ai.ml.entities import BuildContext, Environment

        path = self.files(f"context-{version}", **{"Containerfile": CONTAINERFILE, "server__py": SERVER, **files})
        build = BuildContext(path=str(path), dockerfile_path="Containerfile")
        wanted = Environment(name="serving", version=version, build=build, inference_config=ROUTES)
        return self.ml.environments.create_or_update(wanted)

    def endpoint(self, name: str = ENDPOINT, **more: Any) -> ManagedOnlineEndpoint:
        """An endpoint that has succeeded."""
        from azure.ai.ml.entities import ManagedOnlineEndpoint

        self.ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, **more))
        return self.settled(name)

    def settled(self, name: str = ENDPOINT) -> ManagedOnlineEndpoint:
        """The endpoint after all that was begun has ended."""
        self.cloud.clock.sleep(LONG)
        return self.ml.online_endpoints.get(name)

    def order(self, name: str = "blue", **more: Any) -> ManagedOnlineDeployment:
        from azure.ai.ml.entities import ManagedOnlineDeployment, OnlineRequestSettings

        settings = OnlineRequestSettings(
            request_timeout_ms=more.pop("timeout_ms", 5000),
            max_concurrent_requests_per_instance=more.pop("parallel", 8),
        )
        usual = {
            "endpoint_name": ENDPOINT,
            "model": "echo:c0ffee",
            "environment": "serving:1",
            "instance_type": "Standard_DS3_v2",
            "instance_count": 1,
        }
        return ManagedOnlineDeployment(name=name, request_settings=settings, **{**usual, **more})

    def begin(self, name: str = "blue", **more: Any) -> None:
        """Order a deployment."""
        self.ml.online_deployments.begin_create_or_update(self.order(name, **more))

    def deploy(self, name: str = "blue", **more: Any) -> str:
        """Order a deployment, and its state when its time is up."""
        self.begin(name, **more)
        self.cloud.clock.sleep(LONG)
        return self.state(name)

    def state(self, name: str = "blue") -> str:
        state = self.ml.online_deployments.get(name, ENDPOINT).provisioning_state
        return str(getattr(state, "value", state))  # an enumeration, if the SDK knows the word

    def failure(self, name: str = "blue") -> str:
        """What the failed operation of a deployment says."""
        path = f"{self.workspace.id}/onlineEndpoints/{ENDPOINT}/deployments/{name}"
        resource = self.cloud.arm.peek(path)
        assert resource is not None
        assert resource.operation is not None
        answer = self.ask("GET", resource.operation.url("Azure-AsyncOperation").partition("azure.com")[2])
        assert answer.json()["status"] == "Failed"
        return str(answer.json()["error"]["message"])

    def logs(self, name: str = "blue", *, lines: int = 100, container: str | None = None) -> str:
        return self.ml.online_deployments.get_logs(name, ENDPOINT, lines=lines, container_type=container)

    def put_traffic(self, **traffic: int) -> None:
        """Begin to change the traffic."""
        endpoint = self.ml.online_endpoints.get(ENDPOINT)
        endpoint.traffic = traffic
        self.ml.online_endpoints.begin_create_or_update(endpoint)

    def traffic(self, **traffic: int) -> None:
        """Change the traffic, and let the change end."""
        self.put_traffic(**traffic)
        self.settled()

    def key(self) -> str:
        return str(self.ml.online_endpoints.get_keys(ENDPOINT).primary_key)

    def score(
        self, body: Mapping[str, Any] | None = None, *, to: str = "", key: str | None = None, host: str = ENDPOINT
    ) -> requests.Response:
        """One request to an endpoint; `key` None takes the right one, empty sends none."""
        token = self.key() if key is None else key
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"azureml-model-deployment": to} if to else {}
        url = f"https://{host}.{self.workspace.region}.inference.ml.azure.com/score"
        return self.http().post(url, json=body or {}, headers=headers, timeout=30)

    def http(self) -> requests.Session:
        """Connections that are kept, one for each thread."""
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
        return self._threads.session

    def who(self, **more: Any) -> str:
        """Which deployment answered a request."""
        answer = self.score(**more)
        assert answer.status_code == 200, answer.text
        assert answer.json()["who"] == answer.headers["azureml-model-deployment"]
        return str(answer.headers["azureml-model-deployment"])

    def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """A request to Resource Manager, sent by hand; `path` may begin below the workspace."""
        path = path if path.startswith("/subscriptions") else f"{self.workspace.id}/{path}"
        url = f"https://management.azure.com{path}"
        url += "" if "api-version=" in url else f"{'&' if '?' in url else '?'}api-version={VERSION}"
        data = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json", **(headers or self.headers)}
        return requests.request(method, url, data=data, headers=sent, timeout=30)


def make_world(cloud: Cloud, folder: Path) -> World:
    """A workspace with blob storage; skips the test where that can't be had."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    return World(cloud, folder)
