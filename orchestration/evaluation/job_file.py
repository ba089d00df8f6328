"""Reads an evaluation job from JSON: the engine's own entry, for benchmarks and for looking into one thing alone.

All fields of `EvaluationJob` and `Subject` may stand there under their names. Shorter: `flow` and `evaluator` may be
folders, run by the top-level `python` (the current one), with a content hash taken from their files; `state` is
`.sluice`, `logs` is `<state>/logs`; each upstream is an `llm` connection. In `upstreams` and `connections` a field
that ends in `_env` names the variable that holds the value, so that no secret stands in the file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.errors import ConfigurationError, Place
from orchestration.evaluation.job import EvaluationJob, Subject
from orchestration.values import sha256

_ENV = "_env"


def read_job(path: Path) -> EvaluationJob:
    """The job in the file. Raises `ConfigurationError`."""
    try:
        fields = json.loads(path.read_text())
        return _job(fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"no evaluation job: {error}.", at=Place(str(path))) from error


def _job(fields: dict[str, Any]) -> EvaluationJob:
    python = fields.pop("python", sys.executable)
    environment = fields.pop("environment", {})
    fields["flow"] = _subject(fields["flow"], python, environment)
    fields["evaluator"] = fields.get("evaluator") and _subject(fields["evaluator"], python, environment)
    fields["data"] = Path(fields["data"])
    fields["state"] = Path(fields.get("state", ".sluice"))
    fields["logs"] = Path(fields.get("logs", fields["state"] / "logs"))
    upstreams = {name: _revealed(u) for name, u in fields.pop("upstreams", {}).items()}
    given = {name: _revealed(connection) for name, connection in fields.pop("connections", {}).items()}
    fields["connections"] = {
        **{name: {"type": "llm", "model": fields.get("deployment")} for name, fields in upstreams.items()},
        **given,
    }
    return EvaluationJob(**_proxy_values(upstreams, fields.pop("ceiling", None)), **fields)


def _proxy_values(upstreams: Mapping[str, Any], ceiling: Mapping[str, Any] | None) -> dict[str, Any]:
    if not upstreams:
        return {}
    from orchestration.model_proxy import Ceiling, Upstream  # noqa: PLC0415 - with it comes aiohttp

    return {
        "upstreams": {name: Upstream.from_dict(fields) for name, fields in upstreams.items()},
        "ceiling": None if ceiling is None else Ceiling(**ceiling),
    }


def _subject(value: Any, python: str, environment: Mapping[str, str]) -> Subject:
    fields = {"folder": value} if isinstance(value, str) else dict(value)
    folder = Path(fields.pop("folder"))
    fields.setdefault("content_hash", folder_hash(folder))
    fields.setdefault("environment", environment)
    return Subject(folder=folder, python=Path(fields.pop("python", python)), **fields)


def _revealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with the values of those variables that they name."""
    return {key.removesuffix(_ENV): os.environ[value] if key.endswith(_ENV) else value for key, value in fields.items()}


def folder_hash(folder: Path) -> str:
    """A hash of the folder's files, bytecode aside."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return sha256({str(file.relative_to(folder)): sha256(file.read_bytes()) for file in files})
