"""A registered prompt flow as an MLflow pyfunc model: `mlflow.pyfunc.load_model(folder).predict(rows)`.

MLflow calls `_load_pyfunc`, the loader of the MLmodel file. Connections are given when the model is loaded, as the
runner protocol describes them:

    load_model(folder, model_config={"connections": {"aoai": {"type": "llm", "base_url": ..., "api_key": ...}}})

or, for connections that are not described there, by the environment variables AOAI_API_BASE and AOAI_API_KEY.
The process moves into the prompt flow's folder and imports from it, so one process loads one model.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sluice_runner import PROTOCOL
from sluice_runner.adapters import load_adapter, open_flow
from sluice_runner.adapters.base import Executor, OpenFailed, RowFailed

CONCURRENCY = 16  # rows of one call that run at a time


class PromptFlowModel:
    """An opened prompt flow. `predict` may be called from several threads."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: ARG002 - MLflow's signature
        """The outputs of each row, in order. `model_input`: a list of inputs by name, one such, or a DataFrame.

        Raises `RowFailed` for the first row that failed, and `TypeError` for any other kind of input.
        """
        rows = _rows(model_input)
        with ThreadPoolExecutor(max_workers=min(CONCURRENCY, len(rows)) or 1) as threads:
            return list(threads.map(self._answer, range(len(rows)), rows))

    def _answer(self, number: int, inputs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._executor.run_row(inputs, row_id=str(number), trace=False).output
        except RowFailed as error:
            raise RowFailed(error.code, f"row {number}: {error.message}", error.where) from error


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> PromptFlowModel:
    """Open the prompt flow in `data_path`. Raises `OpenFailed`."""
    config = model_config or {}
    named = {name: each or _from_environment() for name, each in (config.get("connections") or {}).items()}
    message = {
        "protocol": PROTOCOL,
        "flow": data_path,
        "variant": config.get("variant"),
        "connections": {name: each for name, each in named.items() if each},
        "overrides": {},
        "concurrency": CONCURRENCY,
        "trace": False,
    }
    atexit.register(load_adapter(Path(data_path)).clean_up)
    with _naming([name for name, each in named.items() if not each]):
        return PromptFlowModel(open_flow(message))


@contextmanager
def _naming(unknown: Sequence[str]) -> Iterator[None]:
    """Add to a failure which connections nobody described: it may be for want of them."""
    try:
        yield
    except OpenFailed as error:
        if not unknown:
            raise
        cure = f"connections without a description: {', '.join(unknown)}; set AOAI_API_BASE and AOAI_API_KEY"
        raise OpenFailed(error.code, f"{error.message} ({cure})", error.where) from error


def _from_environment() -> dict[str, Any]:
    base_url = os.environ.get("AOAI_API_BASE")
    if not base_url:
        return {}
    return {"type": "llm", "base_url": base_url, "api_key": os.environ.get("AOAI_API_KEY", ""), "model": None}


def _rows(model_input: Any) -> Sequence[Mapping[str, Any]]:
    if hasattr(model_input, "to_dict"):  # a DataFrame, without importing pandas
        model_input = model_input.to_dict("records")
    rows = [model_input] if isinstance(model_input, Mapping) else model_input
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"expected rows as a list of mappings or a DataFrame, not {type(model_input).__name__}")
    return rows
