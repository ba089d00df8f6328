"""What every step of one prompt flow's release needs to know, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestration.candidates import load_run_specs
from orchestration.platforms.base import OWNER_TAG
from orchestration.platforms.names import endpoint_name
from orchestration.settings import Settings
from orchestration.specs import PromptFlowSpec
from orchestration.values import Binding, Candidate, Request


@dataclass(frozen=True, slots=True)
class Work:
    """One prompt flow in one environment: the request, the settings in force, the snapshot, the binding."""

    root: Path
    request: Request
    settings: Settings
    candidate: Candidate
    spec: PromptFlowSpec
    binding: Binding

    @property
    def state(self) -> Path:
        return self.settings.state

    @property
    def endpoint(self) -> str:
        """The endpoint's name: as configured, or derived from prompt flow and environment."""
        return self.settings.endpoint.name or endpoint_name(self.candidate.prompt_flow, self.settings.environment)

    @property
    def variant(self) -> str | None:
        """The prompt variant that run.yml picks: evaluated and served alike."""
        return load_run_specs(self.candidate).flow.variant

    @property
    def label(self) -> str:
        """Prompt flow, commit and environment, as run names say them."""
        return f"{self.candidate.prompt_flow} {short(self.candidate)} {self.settings.environment}"


def short(candidate: Candidate) -> str:
    """The commit in eight characters, marked when the checkout had changes."""
    return candidate.commit[:8] + ("-dirty" if candidate.dirty else "")


def owner_tags(work: Work) -> dict[str, str]:
    """Tags of every resource that this project creates."""
    return {OWNER_TAG: "1", "prompt_flow": work.candidate.prompt_flow, "environment": work.settings.environment}
