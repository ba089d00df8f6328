"""A project whose environment `dev` is on the emulated cloud: a small prompt flow, its candidate, a platform for it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from azure_clients import SECRET
from azure_emulator import Cloud
from azure_emulator.machine_learning.workspaces import Workspace, add_workspace

from orchestration.candidates import take_candidate
from orchestration.platforms.azure.platform import AzurePlatform
from orchestration.platforms.azure.workspace import Session, open_session
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.names import deployment_name
from orchestration.polling import Clock
from orchestration.settings import Settings, load_settings
from orchestration.values import Binding, Candidate, ModelVersion

REPOSITORY = Path(__file__).parents[3]
ENDPOINT = "echo-dev"
OWNER = {"sluice": "1", "prompt_flow": "echo", "environment": "dev"}
FLOW = {
    "callable.toml": 'entry = "answer:answer"\noutputs = ["answer"]\n',
    "answer.py": "def answer(question: str) -> str:\n    return f'hello {question}'\n",
    "sluice.yaml": "gate: {}\nsample: {inputs: {question: a}, answer: {}}\n",
    "run.yml": "data: data.jsonl\n",
    "data.jsonl": '{"question": "a"}\n',
}


@dataclass
class ReleaseProject:
    """The project, its workspace in the emulated cloud, and what a release would pass on."""

    root: Path
    cloud: Cloud
    workspace: Workspace
    settings: Settings = field(init=False)
    candidate: Candidate = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(self.cloud.clock.now, self.cloud.clock.sleep)
        self.application = self.cloud.directory.register(secret=SECRET)
        (self.root / "secret.txt").write_text(SECRET)
        self.configure()
        self.candidate = self.take()

    def configure(self, more: str = "", *, credential: str = "", connections: str = "") -> Settings:
        """Write config/dev.yaml, with other keys of the section `azure` if they are given."""
        signs_in = credential or (
            f"{{kind: client_secret, tenant_id: {self.cloud.directory.tenant}, "
            f"client_id: {self.application.principal.client_id}, client_secret: {{file: secret.txt}}}}"
        )
        config = self.root / "config"
        config.mkdir(exist_ok=True)
        (config / "base.yaml").write_text("default_prompt_flow: echo\n")
        (config / "dev.yaml").write_text(
            f"platform: azure\nazure:\n  subscription_id: {self.workspace.subscription_id}\n"
            f"  resource_group: {self.workspace.resource_group}\n  workspace: {self.workspace.name}\n"
            f"  credential: {signs_in}\n{textwrap.indent(textwrap.dedent(more), '  ')}\n{connections}"
        )
        self.settings = load_settings(self.root, "dev")
        self.__dict__.pop("platform", None)
        return self.settings

    def take(self, **files: str) -> Candidate:
        """The candidate of the prompt flow `echo`, with other files if they are given."""
        folder = self.root / "flows" / "echo"
        folder.mkdir(parents=True, exist_ok=True)
        for link in ("runtime", "requirements"):
            if not (self.root / link).exists():
                (self.root / link).symlink_to(REPOSITORY / link)
        for path, content in {**FLOW, **files}.items():
            (folder / path).write_text(content)
        return take_candidate(self.root, self.settings.state, "echo")

    @cached_property
    def platform(self) -> AzurePlatform:
        return AzurePlatform(self.settings, clock=self.clock)

    @property
    def session(self) -> Session:
        return open_session(self.settings, clock=self.clock)

    @property
    def writes(self) -> list[str]:
        """What was sent to Resource Manager that may have changed something, oldest first."""
        return [
            f"{each.method} {each.url.partition('/workspaces/studio/')[2].partition('?')[0]}"
            for each in self.cloud.exchanges
            if each.method in ("PUT", "PATCH", "DELETE") and "management.azure.com" in each.url
        ]

    def endpoint(self, name: str = ENDPOINT) -> Endpoint:
        return Endpoint(name, tags=OWNER)

    def ready_endpoint(self) -> Endpoint:
        """The endpoint, created and succeeded."""
        endpoint = self.endpoint()
        self.platform.create(endpoint)
        self.cloud.clock.sleep(1000)
        return endpoint

    def deployment(self, model: ModelVersion, *, binding: str = "b" * 64, **tags: str) -> OnlineDeployment:
        """What a release of the model would create."""
        name = deployment_name(model.content_hash, binding)
        given = {**OWNER, "decision": model.decision, "runtime": "/somewhere/bin/python", **tags}
        return OnlineDeployment(name, ENDPOINT, model, Binding("dev", {}, binding), Path("python"), tags=given)

    def register(self, candidate: Candidate | None = None) -> ModelVersion:
        return self.platform.register_model(candidate or self.candidate, decision="d" * 64, tags={"verdict": "PASS"})


def release_project(root: Path, cloud: Cloud) -> ReleaseProject:
    """A project on a workspace of its own."""
    root.mkdir(parents=True, exist_ok=True)
    return ReleaseProject(root, cloud, add_workspace(cloud, resource_group="team", name="studio"))
