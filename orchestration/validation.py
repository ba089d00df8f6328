"""Checking what a user wrote against its schema: the first problem becomes one line with file, line, key and cure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestration.errors import ConfigurationError
from orchestration.yaml_files import Loc, Locate, dotted, kind_of

M = TypeVar("M", bound=BaseModel)

# What stands under such a key may be a secret that was written into the file: messages don't repeat it.
SECRET_KEY = re.compile(r"key|secret|token$|password", re.IGNORECASE)
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "tuple_type": "a list",
    "list_type": "a list",
}
NAME = r"^[a-z][a-z0-9_-]{0,40}$"  # of prompt flows, environments and connections
VARIANT = r"^\$\{[^.{}]+\.[^.{}]+\}$"
GUID = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
GROUP = r"^[-a-zA-Z0-9_.()]{0,89}[-a-zA-Z0-9_()]$"  # from here on Azure's own rules
WORKSPACE = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{1,32}$"
CONNECTION = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$"
VM_SIZE = r"^(Standard|Basic)_[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$"
IMAGE = r"^(own|mcr\.microsoft\.com/azureml/promptflow/[a-z0-9-]+(:[a-zA-Z0-9_.-]+|@sha256:[0-9a-f]+))$"
IDENTITY = (
    r"^(system|/subscriptions/[0-9a-fA-F-]{36}/resource[gG]roups/[-a-zA-Z0-9_.()]+"
    r"/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[a-zA-Z0-9_-]+)$"
)
PATTERNS = {
    NAME: "a small letter, then up to 40 small letters, digits, '-' and '_'",
    VARIANT: "${node.variant}",
    GUID: "an ID like 00000000-0000-0000-0000-000000000000",
    GROUP: "up to 90 letters, digits, '-', '_', '.', '(' and ')', no '.' last",
    WORKSPACE: "2 to 33 letters, digits, '-' and '_', a letter or digit first",
    CONNECTION: "3 to 33 letters, digits, '-' and '_', a letter or digit first",
    VM_SIZE: "the name of an Azure VM size, such as Standard_DS1_v2",
    IMAGE: "own, or mcr.microsoft.com/azureml/promptflow/IMAGE:TAG",
    IDENTITY: "system, or the ID of a user-assigned identity: "
    "/subscriptions/…/resourceGroups/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…",
}
SCALARS = frozenset({"bool", "int", "float", "str"})  # how pydantic names the members of a union of such
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at one key, in a user's words."""

    loc: Loc
    message: str
    cure: str = ""


def validate(model: type[M], data: Mapping[str, Any], locate: Locate) -> M:
    """`data` as `model`. Raises `ConfigurationError` for the first problem; `locate` says where a key stands.

    The way through JSON is on purpose: strict models then take a list for a tuple, and nothing else changes.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise refuse(_first(error, model, locate), locate) from None


def every_problem(model: type[BaseModel], data: Mapping[str, Any], locate: Locate) -> list[ConfigurationError]:
    """All that is wrong with `data` as `model`, in the order of the file; empty if nothing is."""
    try:
        model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found = error.errors(include_url=False)
        kinds: dict[Loc, list[str]] = {}
        for each in found:
            kinds.setdefault(_cleaned(each), []).append(each["type"])
        problems = {_cleaned(each): _problem(each, _cleaned(each), kinds[_cleaned(each)], model) for each in found}
        errors = [refuse(problem, locate) for problem in problems.values()]
        return sorted(errors, key=lambda each: (each.at.line or 0) if each.at else 0)
    return []


def refuse_first(problems: Iterable[Problem], locate: Locate) -> None:
    """Raise `ConfigurationError` for the first of `problems`, if there is one."""
    for problem in problems:
        raise refuse(problem, locate)


def refuse(problem: Problem, locate: Locate) -> ConfigurationError:
    """The error that says what is wrong at a key and where that key stands."""
    return ConfigurationError(problem.message, at=locate(problem.loc), cure=problem.cure)


def nearest(name: str, names: Collection[str]) -> str:
    """`Did you mean 'x'?` if one of the names is near, else what there is to choose from."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"There is {', '.join(sorted(names))}." if names else ""


def between(low: float, high: float, value: float) -> Problem:
    """A number outside 0..1 is most often a percentage."""
    cure = f"Write {value / 100:g}." if (low, high) == (0, 1) and 1 < value <= 100 else ""
    return Problem((), f"{value:g} is not between {low:g} and {high:g}.", cure)


def _first(error: ValidationError, model: type[BaseModel], locate: Locate) -> Problem:
    """The problem that stands first in the file; a key that is missing because it was mistyped comes second."""
    found = error.errors(include_url=False)
    places = [_cleaned(e) for e in found]
    chosen = min(range(len(found)), key=lambda i: (found[i]["type"] == "missing", locate(places[i]).line or 0, i))
    kinds = [e["type"] for e, loc in zip(found, places, strict=True) if loc == places[chosen]]
    return _problem(found[chosen], places[chosen], kinds, model)


def _cleaned(error: ErrorDetails) -> Loc:
    """The place without the steps that pydantic adds and the file doesn't have."""
    loc = tuple(p for p in error["loc"] if not (isinstance(p, str) and (p.startswith("<") or p == "[key]")))
    return loc[:-1] if error["type"].endswith("_type") and loc[-1:] and loc[-1] in SCALARS else loc


def _problem(error: ErrorDetails, loc: Loc, kinds: Sequence[str], model: type[BaseModel]) -> Problem:
    kind, last = error["type"], str(loc[-1]) if loc else ""
    if kind == "extra_forbidden":
        return Problem(loc, f"unknown key {last!r}.", nearest(last, _keys(model, loc[:-1])))
    if kind == "missing":
        return Problem(loc, f"the key {last!r} is missing.", _described(model, loc))
    if kind in BOUNDS:
        return _bound(error, model, loc)
    if kind == "literal_error":
        return _choice(error, loc)
    return _mistyped(error, loc, kinds)


def _mistyped(error: ErrorDetails, loc: Loc, kinds: Sequence[str]) -> Problem:
    kind, found = error["type"], error["input"]
    if kind == "value_error":
        return Problem(loc, f"{error['ctx']['error']}.")
    if kind in EXPECTED:
        return Problem(loc, f"found {_shown(found, loc)}, expected {_expected(kinds)}.", _rewrite(kind, found))
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] in PATTERNS:
        return Problem(loc, f"found {_shown(found, loc)}, expected {PATTERNS[error['ctx']['pattern']]}.")
    return Problem(loc, f"found {_shown(found, loc)}: {error['msg'][:1].lower()}{error['msg'][1:]}.")


def _expected(kinds: Sequence[str]) -> str:
    """What any member of a union would have taken."""
    return " or ".join(dict.fromkeys(EXPECTED[kind] for kind in kinds if kind in EXPECTED))


def _bound(error: ErrorDetails, model: type[BaseModel], loc: Loc) -> Problem:
    limit, words = BOUNDS[error["type"]]
    value, bounds = error["input"], _bounds(model, loc)
    if len(bounds) == 2:
        problem = between(bounds["minimum"], bounds["maximum"], value)
        return Problem(loc, problem.message, problem.cure)
    return Problem(loc, f"found {value}, expected {words} {error['ctx'][limit]}.")


def _choice(error: ErrorDetails, loc: Loc) -> Problem:
    expected, found = str(error["ctx"]["expected"]), error["input"]
    names = re.findall(r"'([^']*)'", expected)
    close = difflib.get_close_matches(str(found), names, n=1)
    cure = f"Did you mean {close[0]!r}?" if close else ""
    return Problem(loc, f"found {_shown(found, loc)}, expected {expected}.", cure)


def _shown(value: Any, loc: Loc) -> str:
    if isinstance(value, dict | list) or value is None:
        return kind_of(value)
    if isinstance(value, str) and (SECRET_KEY.search(dotted(loc)) or len(value) > 60):
        return "text"
    return json.dumps(value, ensure_ascii=False)


def _rewrite(kind: str, found: Any) -> str:
    """What to write instead, where that is plain."""
    if isinstance(found, str) and kind == "bool_type" and found.lower() in WORDS:
        return f"Write {WORDS[found.lower()]}."
    if isinstance(found, str) and kind in {"int_type", "float_type"} and re.fullmatch(r"-?\d+(\.\d+)?", found):
        return f"Write {found} without quotes."
    if kind == "string_type" and isinstance(found, int | float):
        return f'Write "{json.dumps(found)}".'
    if kind in {"tuple_type", "list_type"} and isinstance(found, str | int | float):
        return f"Write [{found}]."
    return ""


def _described(model: type[BaseModel], loc: Loc) -> str:
    """What the schema says of the key `loc`."""
    found = (node.get("properties", {}).get(loc[-1], {}) for node in _schemas_at(model, loc[:-1]))
    return next((f"It is: {node['description']}" for node in found if "description" in node), "")


def _keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that may stand below `loc`."""
    return [name for node in _schemas_at(model, loc) for name in node.get("properties", ())]


def _bounds(model: type[BaseModel], loc: Loc) -> dict[str, float]:
    """The least and the largest number that may stand at `loc`."""
    nodes = _schemas_at(model, loc)
    return {name: node[name] for node in nodes for name in ("minimum", "maximum") if name in node}


def _schemas_at(model: type[BaseModel], loc: Loc) -> list[dict[str, Any]]:
    whole = model.model_json_schema()
    return _descend(whole.get("$defs", {}), whole, loc)


def _descend(models: dict[str, Any], node: dict[str, Any], loc: Loc) -> list[dict[str, Any]]:
    """The JSON schemas that apply below `node`: one, or all members of a union."""
    if "$ref" in node:
        return _descend(models, models[node["$ref"].rpartition("/")[2]], loc)
    members = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if members:
        return [found for member in members for found in _descend(models, member, loc)]
    if not loc:
        return [node]
    below = node.get("items") if isinstance(loc[0], int) else node.get("properties", {}).get(loc[0])
    if below is None:  # any key may stand here, or any that looks like a name
        below = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    return _descend(models, below, loc[1:]) if isinstance(below, dict) else []
