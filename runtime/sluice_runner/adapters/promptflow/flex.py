"""Runs flex flows (`flow.flex.yaml`: a function or a class) and single prompty files with promptflow's executors."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from promptflow._core.metric_logger import add_metric_logger, remove_metric_logger
from promptflow._utils.dataclass_serializer import convert_eager_flow_output_to_dict
from promptflow._utils.utils import AttrDict
from promptflow._utils.yaml_utils import load_yaml
from promptflow.contracts.tool import ConnectionType
from promptflow.core._model_configuration import (
    MODEL_CONFIG_NAME_2_CLASS,
    AzureOpenAIModelConfiguration,
    OpenAIModelConfiguration,
)
from promptflow.executor._prompty_executor import PromptyExecutor
from promptflow.executor._script_executor import ScriptExecutor

from sluice_runner.adapters.base import Message, OpenFailed, RowFailed, RowOutcome, describe, require, where
from sluice_runner.adapters.promptflow import results
from sluice_runner.adapters.promptflow.connections import Connections, set_environment
from sluice_runner.adapters.promptflow.dag import ENDINGS
from sluice_runner.adapters.promptflow.includes import check_includes

FILE = "flow.flex.yaml"
INIT = "init"  # the name under which `overrides` reaches a class entry's arguments


class QuietLines:
    """Leaves out promptflow's capture of prints: with rows in threads it wraps stdout deeper with each row."""

    @contextlib.contextmanager
    def _exec_line_context(self, run_id: str, line_number: int | None) -> Iterator[None]:
        with self._update_operation_context(run_id, line_number):  # type: ignore[attr-defined]  # ScriptExecutor's
            yield


class Script(QuietLines, ScriptExecutor):  # type: ignore[misc]  # promptflow has no types
    """Gives a class entry its connections and model configurations, all pointing at the model proxy."""

    def _resolve_init_kwargs(self, c: type, init_kwargs: dict[str, Any]) -> dict[str, Any]:
        resolved = dict(init_kwargs)
        for name, parameter in inspect.signature(c.__init__).parameters.items():  # type: ignore[misc]
            kind = _name(parameter.annotation)
            if kind in MODEL_CONFIG_NAME_2_CLASS:
                resolved[name] = _model_configuration(kind, resolved.get(name), self._connections)
            elif ConnectionType.is_connection_class_name(kind) and isinstance(resolved.get(name), str):
                resolved[name] = self._connections.get_as(resolved[name], (kind,))
        return resolved


class SinglePrompty(QuietLines, PromptyExecutor):  # type: ignore[misc]  # promptflow has no types
    """A prompty file as a flow."""


class FlexExecutor:
    """One opened flex flow or prompty."""

    framework = "promptflow"

    def __init__(self, flow: Path, kind: str, executor: Any, outputs: dict[str, dict[str, Any]]) -> None:
        self._flow, self._executor, self.kind, self.outputs = flow, executor, kind, outputs
        self.inputs = _inputs(executor)
        self.aggregation = bool(executor.has_aggregation_node)

    def run_row(self, inputs: Mapping[str, Any], *, row_id: str, trace: bool) -> RowOutcome:  # noqa: ARG002 - Protocol
        require(inputs, self.inputs)
        try:
            line = self._executor.exec_line({k: v for k, v in inputs.items() if k in self.inputs})
        except ENDINGS as error:
            raise RowFailed("Raised", describe(error), where(error, self._flow)) from error
        nodes = results.trace_calls(line.run_info.api_calls) if trace else []
        if not results.completed(line.run_info):
            raise results.failure(line.run_info, self._flow, nodes)
        output = results.plain_output(convert_eager_flow_output_to_dict(line.output))
        return RowOutcome(output, results.tokens(line.run_info), nodes)

    def aggregate(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:  # noqa: ARG002 - Protocol
        """Call `__aggregate__` with the rows' outputs. promptflow's own call swallows errors, so it isn't used."""
        if not self.aggregation:
            return {}
        logged: dict[str, Any] = {}
        log = _logger(logged)
        add_metric_logger(log)
        try:
            returned = self._executor._aggr_func(_rows(outputs, raw=self._returns_raw()))  # noqa: SLF001
        except ENDINGS as error:
            raise RowFailed("Raised", describe(error), where(error, self._flow)) from error
        finally:
            remove_metric_logger(log)
        return logged | (returned if isinstance(returned, dict) else {})

    def _returns_raw(self) -> bool:
        """Whether the entry returns a bare value, which is called `output`."""
        return set(self.outputs) <= {"output"} and not _is_mapping(_returned(self._executor))


def open_flex(flow: Path, message: Message, connections: Connections) -> FlexExecutor:
    """Open `flow.flex.yaml`. Raises `OpenFailed`, and what promptflow and user code raise."""
    if message.get("variant"):
        raise OpenFailed("NoVariant", "a flex flow has no variants", FILE)
    data = load_yaml(flow / FILE)
    check_includes(data, flow, FILE)
    overrides = message.get("overrides") or {}
    unknown = sorted(set(overrides) - {INIT})
    if unknown:
        raise OpenFailed("NoNode", f"overrides name {unknown[0]}; a flex flow only has {INIT}", FILE)
    set_environment(data.get("environment_variables") or {}, connections)
    init = {**((data.get("sample") or {}).get("init") or {}), **overrides.get(INIT, {})}
    executor = Script(Path(FILE), connections=connections, working_dir=flow, init_kwargs=init)
    declared = {name: {"type": str(spec.get("type", "object"))} for name, spec in (data.get("outputs") or {}).items()}
    return FlexExecutor(flow, "flex", executor, declared or _outputs(_returned(executor)))


def open_prompty(flow: Path, message: Message, connections: Connections) -> FlexExecutor:
    """Open the folder's only prompty file. Raises `OpenFailed`, and what promptflow raises."""
    if message.get("variant") or message.get("overrides"):
        raise OpenFailed("Unsupported", "a prompty has no variants and no nodes to override")
    files = sorted(flow.glob("*.prompty"))
    if len(files) > 1:
        raise OpenFailed("NoFlow", f"{len(files)} prompty files and no {FILE} that says which is the entry")
    set_environment({}, connections)
    executor = SinglePrompty(files[0], connections=connections, working_dir=flow)
    return FlexExecutor(flow, "prompty", executor, _prompty_outputs(executor.prompty))


def _prompty_outputs(prompty: Any) -> dict[str, dict[str, Any]]:
    declared = prompty._get_output_signature()  # noqa: SLF001
    if declared:
        return {name: {"type": str(spec.get("type", "object"))} for name, spec in declared.items()}
    model = prompty._model  # noqa: SLF001
    free = (model.parameters.get("response_format") or {}).get("type") == "json_object" or model.response == "all"
    return {} if free else {"output": {"type": "string"}}


def _inputs(executor: Any) -> dict[str, dict[str, Any]]:
    """The entry's inputs. Defaults are those of the YAML or prompty, then those of the function itself."""
    parameters = _signature(executor).parameters
    specs: dict[str, dict[str, Any]] = {}
    for name, definition in executor.get_inputs_definition().items():
        specs[name] = {"type": str(getattr(definition.type, "value", definition.type))}
        declared = getattr(executor._inputs_sign.get(name), "default", None)  # noqa: SLF001
        if declared is not None:
            specs[name]["default"] = declared
        elif name in parameters and parameters[name].default is not inspect.Parameter.empty:
            specs[name]["default"] = parameters[name].default
    return specs


def _signature(executor: Any) -> inspect.Signature:
    return inspect.signature(executor._func)  # noqa: SLF001


def _returned(executor: Any) -> Any:
    annotation = _signature(executor).return_annotation
    return None if annotation is inspect.Signature.empty else annotation


def _is_mapping(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return is_dataclass(origin) or (isinstance(origin, type) and issubclass(origin, Mapping)) or annotation is None


def _outputs(annotation: Any) -> dict[str, dict[str, Any]]:
    """The outputs that a return annotation declares: a dataclass's or TypedDict's fields, or one plain `output`."""
    if is_dataclass(annotation) or typing.is_typeddict(annotation):
        return {name: {"type": _json_type(kind)} for name, kind in annotation.__annotations__.items()}
    kind = _json_type(annotation)
    return {"output": {"type": kind}} if kind != "object" else {}


def _json_type(annotation: Any) -> str:
    known = {"str": "string", "int": "int", "float": "double", "bool": "bool", "list": "list"}
    return known.get(_name(annotation).partition("[")[0], "object")


def _name(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")


def _rows(outputs: Mapping[str, Sequence[Any]], *, raw: bool) -> list[Any]:
    """The rows as promptflow gives them to `__aggregate__`: mappings with attributes, or bare values."""
    if raw:
        return list(outputs.get("output", ()))
    return [AttrDict(zip(outputs, values, strict=True)) for values in zip(*outputs.values(), strict=True)]


def _logger(logged: dict[str, Any]) -> Callable[[str, Any], None]:
    def log(key: str, value: Any) -> None:
        logged[key] = value

    return log


def _model_configuration(kind: str, given: Any, connections: Connections) -> Any:
    """A model configuration that keeps the model's name and points at the model proxy."""
    values = given if isinstance(given, Mapping) else vars(given) if given is not None else {}
    name = values.get("connection")
    openai = kind == OpenAIModelConfiguration.__name__
    connection = connections.model(name, openai=openai, api_version=values.get("api_version") or "")
    if openai:
        model = values.get("model") or connections.bound_model(name)
        return OpenAIModelConfiguration.from_connection(connection, model=model)
    deployment = values.get("azure_deployment") or connections.bound_model(name)
    return AzureOpenAIModelConfiguration.from_connection(connection, azure_deployment=deployment)
