"""Recorded exchanges against the published descriptions, where the validator is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from azure_emulator import Cloud

BESIDE = Path(__file__).resolve().parents[4] / "shared" / "spec-check"


def findings(cloud: Cloud, folder: Path, *, level: str = "error") -> list[str]:
    """What the validator finds in everything that the cloud has recorded; skips the test without a validator."""
    validator = Path(os.environ.get("SLUICE_SPEC_CHECK", BESIDE)) / "validate.py"
    if not validator.exists():
        pytest.skip("no validator: set SLUICE_SPEC_CHECK to a folder with validate.py")
    recorded, report = folder / "exchanges.jsonl", folder / "report.jsonl"
    assert cloud.write_exchanges(recorded) > 0
    command = [sys.executable, validator, recorded, "--json", report, "--fail-on", "never", "--quiet"]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    lines = map(json.loads, report.read_text().splitlines())
    return [
        f"{line['method']} {line['url']} {line['status']}: {found['kind']} {found['where']} {found['message']}"
        for line in lines
        for found in line["findings"]
        if found["level"] == level
    ]
