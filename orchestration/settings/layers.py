"""Settings in layers, the later over the earlier, and where each value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.errors import Place
from orchestration.yaml_files import Loc, YamlFile, dotted

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings: a file, a block, or the command line."""

    name: str
    data: Mapping[str, Any]
    file: YamlFile | None = None

    def place(self, loc: Loc) -> Place:
        """Where a key stands in this source."""
        return self.file.place(loc) if self.file else Place(self.name, key=dotted(loc))


@dataclass(frozen=True, slots=True)
class Layers:
    """All sources, the strongest last."""

    layers: tuple[Layer, ...]

    def merged(self) -> dict[str, Any]:
        """Keys of mappings are merged, lists and plain values replaced.

        A connection or a credential that names its `kind` replaces the one below it whole: an address or
        a limit that was meant for another provider must not shine through.
        """
        data: dict[str, Any] = {}
        for layer in self.layers:
            data = _merge(data, layer.data, ())
        return data

    def place(self, loc: Loc) -> Place:
        """Where a key gets its value; for a key that no source has, where the nearest key above it stands."""
        for length in range(len(loc), 0, -1):
            for layer in reversed(self.layers):
                if _has(layer.data, loc[:length]):
                    place = layer.place(loc[:length])
                    return Place(place.file, place.line, dotted(loc))
        files = [layer for layer in self.layers if layer.file] or [Layer("settings", {})]
        return Place(files[-1].name, key=dotted(loc))

    def sources(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The name of the source of each leaf of `values`, by its dotted key."""
        leaves = list(_leaves(values, ()))
        return {dotted(loc): self._source(loc) for loc in leaves}

    def _source(self, loc: Loc) -> str:
        names = (layer.name for layer in reversed(self.layers) if _has(layer.data, loc))
        return next(names, DEFAULT)


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"gate.min_rows": 5}` as `{"gate": {"min_rows": 5}}`; nested mappings stay as they are."""
    expanded: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}  # noqa: PLW2901 - wrapped from the inside out
        expanded = _merge(expanded, value, ())
    return expanded


def _merge(below: Any, above: Any, loc: Loc) -> Any:
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    whole = loc == ("azure", "credential") or (len(loc) == 2 and loc[0] == "connections")
    if whole and "kind" in above:
        return above
    return {**below, **{key: _merge(below.get(key), value, (*loc, key)) for key, value in above.items()}}


def _has(data: Any, loc: Loc) -> bool:
    for part in loc:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = dict(enumerate(data))
        if not isinstance(data, Mapping) or part not in data:
            return False
        data = data[part]
    return True


def _leaves(value: Any, loc: Loc) -> Iterator[Loc]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*loc, key))
    else:
        yield loc
