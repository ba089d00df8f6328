"""Adapter for a plain Python function. Standard library only.

The folder holds `callable.toml`:

    entry = "module:function"        # called with the inputs by name; may be a coroutine function
    outputs = ["label"]              # names of the outputs; a return value that is no mapping is the only one
    aggregate = "module:function"    # optional; called with (inputs, outputs), lists by name; returns the metrics

Inputs come from the function's signature. A parameter named `connections` gets the mapping of the `open` message:
`connections["aoai"]["base_url"]`. Report tokens with `sluice_runner.usage.add(prompt, completion)`.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluice_runner import usage
from sluice_runner.adapters.base import Message, OpenFailed, RowFailed, RowOutcome, describe, opening, where
from sluice_runner.adapters.base import require as require_inputs
from sluice_runner.usage import Counter

CONFIG = "callable.toml"
KEYS = {"entry", "outputs", "aggregate"}
TYPES = {"str": "string", "int": "int", "float": "double", "bool": "bool", "list": "list", "dict": "object"}
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

Function = Callable[..., Any]


@dataclass
class CallableExecutor:
    """One function that answers rows, and maybe one that aggregates them."""

    flow: Path
    function: Function
    aggregator: Function | None
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    extra: Mapping[str, Any]  # arguments that are no inputs: `connections`, if the function takes it
    open_ended: bool  # takes **kwargs, so undeclared inputs too
    framework: str = field(default="callable", init=False)
    kind: str = field(default="callable", init=False)

    @property
    def aggregation(self) -> bool:
        return self.aggregator is not None

    def run_row(self, inputs: Mapping[str, Any], *, row_id: str, trace: bool) -> RowOutcome:  # noqa: ARG002 - Protocol
        require_inputs(inputs, self.inputs)
        arguments = {k: v for k, v in inputs.items() if self.open_ended or k in self.inputs}
        started = time.monotonic()
        with usage.counting() as count:
            try:
                output = self._named(_call(self.function, **arguments, **self.extra))
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                failure = self._failure(error)
                failure.tokens = count.tokens()
                failure.nodes = self._trace(arguments, None, failure.message, started, count, trace=trace)
                raise failure from error
        return RowOutcome(output, count.tokens(), self._trace(arguments, output, None, started, count, trace=trace))

    def aggregate(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        if self.aggregator is None:
            return {}
        try:
            metrics = _call(self.aggregator, inputs, outputs)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise self._failure(error) from error
        if not isinstance(metrics, Mapping):
            raise RowFailed("BadOutput", f"the aggregation returned {type(metrics).__name__}, not a mapping of metrics")
        return dict(metrics)

    def _named(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Mapping):
            return dict(value)
        if len(self.outputs) == 1:
            return dict.fromkeys(self.outputs, value)
        raise RowFailed("BadOutput", f"{self.function.__name__} returned {type(value).__name__}, not a mapping")

    def _failure(self, error: BaseException) -> RowFailed:
        if isinstance(error, RowFailed):
            return error
        return RowFailed("Raised", describe(error), where(error, self.flow))

    def _trace(
        self, inputs: Mapping[str, Any], output: Any, error: str | None, started: float, count: Counter, *, trace: bool
    ) -> list[dict[str, Any]]:
        if not trace:
            return []
        seconds = time.monotonic() - started
        node = {"name": self.function.__name__, "inputs": inputs, "output": output, "error": error}
        return [node | {"seconds": seconds, "tokens": count.tokens()}]


def prepare() -> bool:
    """Nothing to import; safe to fork."""
    return True


def clean_up() -> None:
    """Nothing to undo."""


def open_flow(flow: Path, message: Message) -> CallableExecutor:
    """Open the folder. Raises `OpenFailed`."""
    config = _read_config(flow)
    with opening(flow):
        function = _load(config["entry"])
        aggregator = _load(config["aggregate"]) if "aggregate" in config else None
    if message.get("variant") or message.get("overrides"):
        raise OpenFailed("Unsupported", "a callable has no variants and no nodes to override", CONFIG)
    parameters = inspect.signature(function).parameters.values()
    wants = any(p.name == "connections" for p in parameters)
    return CallableExecutor(
        flow=flow,
        function=function,
        aggregator=aggregator,
        inputs={p.name: _input(p) for p in parameters if p.kind in NAMED and p.name != "connections"},
        outputs={name: {"type": "object"} for name in config["outputs"]},
        extra={"connections": message["connections"]} if wants else {},
        open_ended=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def _read_config(flow: Path) -> dict[str, Any]:
    try:
        config = tomllib.loads((flow / CONFIG).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OpenFailed("BadConfig", f"not TOML: {error}", CONFIG) from error
    unknown = sorted(config.keys() - KEYS)
    if unknown:
        raise OpenFailed("BadConfig", f"unknown key {unknown[0]}; known are {', '.join(sorted(KEYS))}", CONFIG)
    if not isinstance(config.get("entry"), str):
        raise OpenFailed("BadConfig", 'needs entry = "module:function"', CONFIG)
    outputs = config.setdefault("outputs", [])
    if not isinstance(outputs, list) or not all(isinstance(name, str) for name in outputs):
        raise OpenFailed("BadConfig", "outputs must be a list of names", CONFIG)
    return config


def _load(entry: Any) -> Function:
    module, colon, name = str(entry).partition(":")
    if not colon:
        raise OpenFailed("BadConfig", f'{entry!r} is not "module:function"', CONFIG)
    function: Function | None = getattr(importlib.import_module(module), name, None)
    if function is None or not callable(function):
        raise OpenFailed("NoEntry", f"{module} has no function {name}", CONFIG)
    return function


def _input(parameter: inspect.Parameter) -> dict[str, Any]:
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    spec: dict[str, Any] = {"type": TYPES.get(name.partition("[")[0], "object")}
    if parameter.default is not parameter.empty:
        spec["default"] = parameter.default
    return spec


def _call(function: Function, *args: Any, **kwargs: Any) -> Any:
    value = function(*args, **kwargs)
    return asyncio.run(_finish(value)) if inspect.isawaitable(value) else value


async def _finish(value: Any) -> Any:
    return await value
