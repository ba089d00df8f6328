"""Candidates: read-only snapshots of a prompt flow with everything it needs, named by their content."""

from orchestration.candidates.checkout import UNKNOWN, Checkout, checkout
from orchestration.candidates.manifest import (
    Manifest,
    RunSide,
    RunSpec,
    check_unchanged,
    load_candidate,
    load_run_specs,
    load_spec,
    read_manifest,
)
from orchestration.candidates.project import list_prompt_flows
from orchestration.candidates.snapshot import remove_old_candidates, take_candidate

__all__ = [
    "UNKNOWN",
    "Checkout",
    "Manifest",
    "RunSide",
    "RunSpec",
    "check_unchanged",
    "checkout",
    "list_prompt_flows",
    "load_candidate",
    "load_run_specs",
    "load_spec",
    "read_manifest",
    "remove_old_candidates",
    "take_candidate",
]
