"""Column mappings: which value of the data, or of the prompt flow's answer, becomes which input.

The rules are promptflow's: `${data.x}`, `${run.inputs.x}` and `${run.outputs.x}` are references, everything else is
a literal value; an input that isn't mapped and has no default takes the data's column of its own name. As in
promptflow, `run.inputs` is the data of the evaluated run, not its mapped inputs. Unlike promptflow, all is checked
before the first row is paid for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.errors import ConfigurationError, Place
from orchestration.evaluation.data import Line, Record
from orchestration.evaluation.description import Description
from orchestration.evaluation.job import Subject
from orchestration.values import Json

DATA, RUN_INPUTS, RUN_OUTPUTS = "data", "run.inputs", "run.outputs"
_REFERENCE = re.compile(r"\$\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Reference:
    """`${source.column}`."""

    source: str
    column: str

    def __str__(self) -> str:
        return f"${{{self.source}.{self.column}}}"


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """A complete, checked mapping: each input of the flow that gets a value, and from where."""

    references: Mapping[str, Reference]
    literals: Mapping[str, Json]

    @property
    def written(self) -> dict[str, Json]:
        """The mapping as a `column_mapping` of prompt flow."""
        return {**self.literals, **{name: str(reference) for name, reference in self.references.items()}}

    def apply(self, record: Record, outputs: Record | None = None) -> dict[str, Json]:
        """The inputs of one row. Raises `KeyError` with the reference that has no value."""
        inputs = dict(self.literals)
        for name, reference in self.references.items():
            source = (outputs or {}) if reference.source == RUN_OUTPUTS else record
            if reference.column not in source:
                raise KeyError(str(reference))
            inputs[name] = source[reference.column]
        return inputs


def flow_mapping(subject: Subject, description: Description, lines: Sequence[Line], data_name: str) -> ColumnMapping:
    """The mapping of the prompt flow itself. Raises `ConfigurationError` (file:line:key) if it can't work."""
    return _mapping(subject, description, lines, data_name, outputs=None)


def evaluator_mapping(
    subject: Subject, description: Description, lines: Sequence[Line], data_name: str, outputs: Sequence[str]
) -> ColumnMapping:
    """The mapping of the evaluator; `outputs` are those that the prompt flow declares (none: any may come)."""
    return _mapping(subject, description, lines, data_name, outputs=outputs)


def _mapping(
    subject: Subject, description: Description, lines: Sequence[Line], data_name: str, *, outputs: Sequence[str] | None
) -> ColumnMapping:
    references: dict[str, Reference] = {}
    literals: dict[str, Json] = {}
    for name, value in (subject.mapping or {}).items():
        _check_input(name, description, subject.place(name))
        reference = parse(value, subject.place(name), evaluating=outputs is not None)
        if reference is None:
            literals[name] = value
            continue
        _check_output(reference, outputs, subject.place(name))
        references[name] = reference
    for name in _unmapped(subject, description, lines):
        references[name] = Reference(DATA, name)
    for name, reference in references.items():
        _check_column(name, reference, lines, data_name, subject)
    return ColumnMapping(references, literals)


def parse(value: Json, at: Place, *, evaluating: bool) -> Reference | None:
    """The reference that a mapping's value is, or None for a literal. Raises `ConfigurationError`."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    sources = (DATA, RUN_INPUTS, RUN_OUTPUTS) if evaluating else (DATA,)
    for source in sources:
        if match[1].startswith(f"{source}."):
            return Reference(source, match[1].removeprefix(f"{source}."))
    known = ", ".join(f"${{{source}.<column>}}" for source in sources)
    raise ConfigurationError(f"{value} refers to nothing.", at=at, cure=f"Possible here: {known}.")


def _unmapped(subject: Subject, description: Description, lines: Sequence[Line]) -> list[str]:
    """Inputs that take the column of their own name; all columns, if the flow doesn't declare its inputs."""
    if not description.inputs and subject.mapping is None:
        return list(lines[0].record)
    mapped = subject.mapping or {}
    return [name for name in description.required if name not in mapped]


def _check_input(name: str, description: Description, at: Place) -> None:
    if description.inputs and name not in description.inputs:
        known = ", ".join(description.inputs)
        raise ConfigurationError(f"the flow has no input {name}.", at=at, cure=f"Its inputs: {known}.")


def _check_output(reference: Reference, outputs: Sequence[str] | None, at: Place) -> None:
    if reference.source == RUN_OUTPUTS and outputs and reference.column not in outputs:
        known = ", ".join(outputs)
        raise ConfigurationError(
            f"the prompt flow has no output {reference.column} ({reference}).", at=at, cure=f"Its outputs: {known}."
        )


def _check_column(name: str, reference: Reference, lines: Sequence[Line], data_name: str, subject: Subject) -> None:
    if reference.source == RUN_OUTPUTS:
        return
    column = reference.column
    without = [line.number for line in lines if column not in line.record]
    if not without:
        return
    at = subject.place(name)
    if len(without) < len(lines):
        raise ConfigurationError(
            f"this row has no column {column}, which input {name} takes ({at}).", at=Place(data_name, without[0])
        )
    known = ", ".join(lines[0].record) or "none"
    what = f"{reference} names no column of the data" if name in (subject.mapping or {}) else _nothing_for(name)
    raise ConfigurationError(f"{what} {data_name}.", at=at, cure=f"Its columns: {known}.")


def _nothing_for(name: str) -> str:
    return f"input {name} has no mapping, no default, and no column of its name in"
