"""Runs a DAG flow (`flow.dag.yaml`) with promptflow's own executor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import promptflow.executor.flow_executor as executor_module
from promptflow._utils.execution_utils import get_aggregation_inputs_properties
from promptflow._utils.yaml_utils import load_yaml
from promptflow.contracts.flow import Flow, Node
from promptflow.contracts.tool import ConnectionType
from promptflow.executor._tool_resolver import ToolResolver
from promptflow.executor.flow_executor import FlowExecutor

from sluice_runner.adapters.base import Message, OpenFailed, RowFailed, RowOutcome, describe, require, where
from sluice_runner.adapters.promptflow import results
from sluice_runner.adapters.promptflow.connections import Connections, set_environment
from sluice_runner.adapters.promptflow.includes import check_includes

FILE = "flow.dag.yaml"
VARIANT = re.compile(r"^\$\{([^.}]+)\.([^.}]+)\}$")
ENDINGS = (Exception, SystemExit, KeyboardInterrupt)  # whatever user code may end a row with


class Resolver(ToolResolver):  # type: ignore[misc]  # promptflow has no types
    """Gives each node its connection in the class that the node expects."""

    _node: Node | None = None

    def resolve_tool_by_node(self, node: Node, convert_input_types: bool = True) -> Any:
        self._node = node
        return super().resolve_tool_by_node(node, convert_input_types=convert_input_types)

    def _get_llm_node_connection(self, node: Node) -> Any:
        return self._connection(node.connection, ())

    def _convert_to_connection_value(self, k: str, v: Any, node_name: str, conn_types: Sequence[Any]) -> Any:
        connection = self._connection(v.value, [str(kind) for kind in conn_types])
        if type(connection).__name__ not in conn_types and not ConnectionType.is_custom_strong_type(connection):
            raise OpenFailed(
                "WrongConnection",
                f"{node_name}.{k} wants {' or '.join(map(str, conn_types))}, "
                f"but {v.value} is bound as {type(connection).__name__}",
                FILE,
            )
        return connection

    def _connection(self, name: Any, wanted: Sequence[str]) -> Any:
        inputs = self._node.inputs if self._node is not None else {}
        openai = "model" in inputs and not inputs.get("deployment_name")
        wanted = wanted or ("AzureOpenAIConnection", "OpenAIConnection")
        return self._connection_provider.get_as(name, wanted, openai=openai)


class DagExecutor:
    """One opened DAG. Its aggregation reads the flow's outputs, or what `run_row` adds as `${node.output}`."""

    framework = "promptflow"
    kind = "dag"

    def __init__(self, flow: Path, executor: FlowExecutor) -> None:
        self._flow, self._executor = flow, executor
        definition = executor._flow  # noqa: SLF001
        self.inputs = {name: _spec(value) for name, value in definition.inputs.items()}
        self.outputs = {name: {"type": _type(value)} for name, value in definition.outputs.items()}
        self.aggregation = bool(executor.has_aggregation_node)
        self._aggregated = _find_aggregated(definition)

    def run_row(self, inputs: Mapping[str, Any], *, row_id: str, trace: bool) -> RowOutcome:  # noqa: ARG002 - Protocol
        require(inputs, self.inputs)
        try:
            line = self._executor.exec_line({k: v for k, v in inputs.items() if k in self.inputs})
        except ENDINGS as error:
            raise RowFailed("Raised", describe(error), where(error, self._flow)) from error
        nodes = results.trace_nodes(line.node_run_infos) if trace else []
        if not results.completed(line.run_info):
            raise results.failure(line.run_info, self._flow, nodes)
        extra = {ref: line.aggregation_inputs[ref] for ref, name in self._aggregated.items() if ref == name}
        return RowOutcome(results.plain_output({**line.output, **extra}), results.tokens(line.run_info), nodes)

    def aggregate(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        missing = [name for name in self._aggregated.values() if name not in outputs]
        if missing:
            raise RowFailed("MissingInput", f"the aggregation needs outputs that are not there: {', '.join(missing)}")
        ours = {k: list(v) for k, v in inputs.items() if k in self.inputs}
        try:
            done = self._executor.exec_aggregation(ours, {ref: outputs[n] for ref, n in self._aggregated.items()})
        except ENDINGS as error:
            raise RowFailed("Raised", describe(error), where(error, self._flow)) from error
        for node in self._executor.aggregation_nodes:
            run = done.node_run_infos.get(node)
            if run is None:
                raise RowFailed("Raised", f"aggregation node {node} did not run")
            if not results.completed(run):
                raise results.failure(run, self._flow)
        return dict(done.metrics)


def open_dag(flow: Path, message: Message, connections: Connections) -> DagExecutor:
    """Open `flow.dag.yaml` with the message's variant and overrides. Raises `OpenFailed`, and what promptflow does."""
    data = load_yaml(flow / FILE)
    check_includes(data, flow, FILE)
    data["nodes"] = list(_choose(data, message.get("variant")))
    _override(data["nodes"], message.get("overrides") or {})
    set_environment(data.get("environment_variables") or {}, connections)
    executor_module.ToolResolver = Resolver
    executor = FlowExecutor._create_from_flow(  # noqa: SLF001 - `create` would read the file again, without our changes
        flow=Flow._from_dict(flow_data=data, working_dir=flow),  # noqa: SLF001
        connections=connections,
        working_dir=flow,
        flow_file=flow / FILE,
        raise_ex=False,
    )
    return DagExecutor(flow, executor)


def _choose(data: Mapping[str, Any], variant: str | None) -> Iterator[dict[str, Any]]:
    """The nodes, with the chosen variant of one and the default variants of the others."""
    variants = data.get("node_variants") or {}
    tuned, chosen = _parse_variant(variant, variants)
    for node in data["nodes"]:
        if node["name"] == tuned or node.get("use_variants"):
            known = variants.get(node["name"]) or {}
            name = chosen if node["name"] == tuned else known.get("default_variant_id")
            if name not in (known.get("variants") or {}):
                raise OpenFailed("NoVariant", f"node {node['name']} has no variant {name}", FILE)
            yield {"name": node["name"], **known["variants"][name]["node"]}
        else:
            yield node


def _parse_variant(variant: str | None, variants: Mapping[str, Any]) -> tuple[str, str]:
    if not variant:
        return "", ""
    match = VARIANT.match(variant)
    if match is None:
        raise OpenFailed("NoVariant", f"variant {variant!r} must look like ${{node.variant}}")
    node, name = match.groups()
    if name not in (variants.get(node, {}).get("variants") or {}):
        known = ", ".join(f"${{{n}.{v}}}" for n, each in variants.items() for v in each.get("variants") or {})
        raise OpenFailed("NoVariant", f"there is no variant {variant}; known are {known or 'none'}", FILE)
    return node, name


def _override(nodes: Sequence[dict[str, Any]], overrides: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace inputs of nodes; `connection` of an LLM node is no input, but may be replaced too."""
    by_name = {node["name"]: node for node in nodes}
    for name, inputs in overrides.items():
        if name not in by_name:
            raise OpenFailed("NoNode", f"overrides name node {name}, which is not there", FILE)
        node = by_name[name]
        for key, value in inputs.items():
            target = node if key == "connection" and "connection" in node else node.setdefault("inputs", {})
            target[key] = value


def _find_aggregated(definition: Any) -> dict[str, str]:
    """Where the aggregation finds each `${node.output}` it refers to: the flow's output of that name, else itself."""
    named = {output.reference.serialize(): name for name, output in definition.outputs.items()}
    return {ref: named.get(ref, ref) for ref in sorted(get_aggregation_inputs_properties(definition))}


def _spec(definition: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": _type(definition)}
    if definition.default is not None:
        spec["default"] = definition.default
    return spec


def _type(definition: Any) -> str:
    return str(getattr(definition.type, "value", definition.type))
