"""A small project whose environment `dev` is an Azure Machine Learning workspace."""

from __future__ import annotations

from pathlib import Path

from small_project import Project, make_project, write

from orchestration.candidates import load_spec, take_candidate
from orchestration.platforms.base import OnlineDeployment
from orchestration.settings import Settings, bind, load_settings
from orchestration.values import Binding, Candidate, ModelVersion

SUBSCRIPTION = "0d0f5eed-0000-4000-8000-00000000abcd"
DEV = f"""
platform: azure
azure:
  subscription_id: {SUBSCRIPTION}
  resource_group: team
  workspace: studio
  credential: {{kind: cli}}
connections:
  aoai: {{kind: workspace, name: team-aoai, model_deployment: gpt-4o-mini}}
"""


def azure_project(folder: Path, *, more: str = "", connections: str = "[aoai]") -> Project:
    """A callable prompt flow `tiny`; `more` is added to config/dev.yaml below `azure:`."""
    project = make_project(folder)
    write(project.root / "config" / "dev.yaml", DEV.replace("  credential", f"{more}  credential"))
    spec = project.flow / "sluice.yaml"
    spec.write_text(spec.read_text().replace("connections: []", f"connections: {connections}"))
    return project


def settings_of(project: Project) -> Settings:
    return load_settings(project.root, "dev")


def take(project: Project) -> Candidate:
    return take_candidate(project.root, project.state, "tiny")


def write_file(project: Project, name: str, text: str) -> None:
    """A file of deployments/tiny/."""
    path = project.root / "deployments" / "tiny" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def bound(project: Project, candidate: Candidate) -> Binding:
    return bind(settings_of(project), load_spec(candidate))


def deployed(
    project: Project, candidate: Candidate, *, variant: str | None = None, name: str = "d1", endpoint: str = "tiny-dev"
) -> OnlineDeployment:
    """The candidate as a deployment that is to be made."""
    model = ModelVersion("tiny", candidate.content_hash[:16], candidate.content_hash, "decision")
    tags = {"sluice": "1", "content": candidate.content_hash}
    return OnlineDeployment(name, endpoint, model, bound(project, candidate), Path(), variant, tags)
