"""Reads promptflow's records of a row: tokens, traced nodes, and what went wrong where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptflow._utils.utils import default_json_encoder
from promptflow.contracts.run_info import Status

from sluice_runner.adapters.base import RowFailed, Tokens

FRAME = re.compile(r'File "([^"]+)", line (\d+)')
CODES = {
    "FlowOutputUnserializable": "BadOutput",
    "InputNotFound": "MissingInput",
    "MissingRequiredInputError": "MissingInput",
}


def completed(run: Any) -> bool:
    """Whether a record of promptflow, of a row or a node, says that it went well."""
    return bool(run.status == Status.Completed)


def tokens(run: Any) -> Tokens:
    """The tokens in a record's metrics."""
    metrics = run.system_metrics or {}
    return Tokens(prompt=metrics.get("prompt_tokens") or 0, completion=metrics.get("completion_tokens") or 0)


def failure(run: Any, flow: Path, nodes: Sequence[dict[str, Any]] = ()) -> RowFailed:
    """The failed record as the error to raise."""
    error = run.error or {"message": f"promptflow says {run.status.value}"}
    code, message, where = read_error(error, flow)
    return RowFailed(code, message, where, tokens=tokens(run), nodes=nodes)


def read_error(error: Mapping[str, Any], flow: Path) -> tuple[str, str, str]:
    """Code, message and `file:line` of an error as promptflow writes it."""
    chain = list(_chain(error.get("debugInfo")))
    details: Mapping[str, Any] = next(
        (i["info"] for i in error.get("additionalInfo") or () if "traceback" in i.get("info", {})), {}
    )
    names = {link.get("type") for link in chain} | set(_codes(error))
    code = next((ours for theirs, ours in CODES.items() if theirs in names), "Raised")
    traces = [details.get("traceback"), *(link.get("stackTrace") for link in reversed(chain))]
    where = next((place for place in (_where(trace or "", flow) for trace in traces) if place), "")
    return code, _message(error, details), where


def _chain(debug: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The errors, from what promptflow raised down to what caused it."""
    while debug:
        yield debug
        debug = debug.get("innerException")


def _codes(error: Mapping[str, Any] | None) -> Iterator[str]:
    while error:
        yield str(error.get("code"))
        error = error.get("innerError")


def _message(error: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    if not details:  # promptflow's own error
        return str(error.get("message") or "")
    parameters = error.get("messageParameters") or {}
    name = parameters.get("node_name") or parameters.get("func_name") or "flow"
    return f"{name}: {details.get('type')}: {details.get('message')}"


def _where(trace: str, flow: Path) -> str:
    for file, line in reversed(FRAME.findall(trace)):
        if Path(file).is_relative_to(flow):
            return f"{Path(file).relative_to(flow)}:{line}"
    return ""


def trace_nodes(runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a DAG, from their records."""
    return [_node(name, run) for name, run in runs.items()]


def _node(name: str, run: Any) -> dict[str, Any]:
    node = {
        "name": name,
        "inputs": run.inputs,
        "output": run.output,
        "error": run.error["message"] if run.error else None,
        "seconds": (run.system_metrics or {}).get("duration") or 0.0,
        "tokens": tokens(run),
    }
    return node | _prompt(run.api_calls or [])


def trace_calls(calls: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The traced functions of a flex flow or prompty, outer before inner, as nodes."""
    return [_call(call) for call in _walk(calls or [])]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    usage = call.get("system_metrics") or {}
    used = Tokens(prompt=usage.get("prompt_tokens") or 0, completion=usage.get("completion_tokens") or 0)
    node = {
        "name": call["name"],
        "inputs": call.get("inputs"),
        "output": call.get("output"),
        "error": (call.get("error") or {}).get("message"),
        "seconds": (call.get("end_time") or 0.0) - (call.get("start_time") or 0.0),
        "tokens": used,
    }
    return node | (_prompt([call]) if call.get("type") == "LLM" else {})


def _walk(calls: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for call in calls:
        yield call
        yield from _walk(call.get("children") or [])


def _prompt(calls: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The prompt as the model saw it: that of the first model call."""
    for call in _walk(calls):
        inputs = call.get("inputs") or {}
        if call.get("type") == "LLM" and isinstance(inputs.get("messages"), list):
            return {"prompt": "\n\n".join(f"# {m.get('role')}:\n{m.get('content')}" for m in inputs["messages"])}
        if call.get("type") == "LLM" and isinstance(inputs.get("prompt"), str):
            return {"prompt": inputs["prompt"]}
    return {}


def plain_output(value: Any) -> Any:
    """An output with promptflow's own objects (images, assistants) in their JSON form; the rest untouched."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {k: plain_output(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_output(v) for v in value]
    try:
        return default_json_encoder(value)
    except TypeError:
        return value  # reported as BadOutput where the answer is written
