"""Imports promptflow without its SDK: no telemetry, no database, no threads, a third of the time.

Three modules of promptflow 1.18.5 import everything just to offer old names. A stand-in for each finds a name, when
somebody asks for it, in the module that the original imports it from; for any other name it becomes the original.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

LATER = ("requests", "jsonschema")  # promptflow imports them for rare occasions; a fifth of its import
HEAVY = ("promptflow", "promptflow._internal", "promptflow._cli._utils")
# Their own functions that promptflow-tools calls, which would bring the whole original in.
INSTEAD = {
    "promptflow": {
        "__version__": ("promptflow._version", "VERSION"),
        "log_metric": ("promptflow.core", "log_metric"),
        "log_flow_metric": ("promptflow.core", "log_metric"),
        "tool": ("promptflow.core", "tool"),
        "ToolProvider": ("promptflow.core", "ToolProvider"),
        "PFClient": ("promptflow.client", "PFClient"),
        "load_flow": ("promptflow.client", "load_flow"),
        "load_run": ("promptflow.client", "load_run"),
    },
    "promptflow._cli._utils": {
        "get_workspace_triad_from_local": ("promptflow.core._utils", "get_workspace_triad_from_local"),
    },
}

Origin = tuple[str, str]


class StandIn(ModuleType):
    """Looks like the module; loads what it is asked for from where the original has it."""

    def __init__(self, spec: ModuleSpec, origins: Mapping[str, Origin]) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__file__ = spec.origin
        self.__loader__ = spec.loader
        if spec.submodule_search_locations is not None:
            self.__path__ = list(spec.submodule_search_locations)
        self._origins = origins

    def __getattr__(self, name: str) -> object:
        submodule = sys.modules.get(f"{self.__name__}.{name}")
        if submodule is not None:  # `import a.b as c` asks for it so
            return submodule
        if name in self._origins:
            module, attribute = self._origins[name]
            value = getattr(importlib.import_module(module), attribute)
        elif name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        else:
            value = getattr(self._original(), name)
        setattr(self, name, value)
        return value

    def _original(self) -> ModuleType:
        """The real module, without letting it take this one's place: others hold a reference to it."""
        known = self.__dict__.get("_real")
        if known is None:
            assert self.__spec__ is not None
            assert self.__spec__.loader is not None
            known = importlib.util.module_from_spec(self.__spec__)
            self._real = known
            self.__spec__.loader.exec_module(known)
        assert isinstance(known, ModuleType)
        return known


class Later(ModuleType):
    """A package that is imported when something of it is asked for, be it `__path__` to import a part of it."""

    def __getattr__(self, name: str) -> object:
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    def leave(self) -> None:
        """Make way for the real one."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


@contextmanager
def later() -> Iterator[None]:
    """While promptflow is imported, it is given stand-ins for what it may need later; nobody else gets them."""
    stand_ins = [Later(name) for name in LATER if name not in sys.modules]
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        yield
    finally:
        for module in stand_ins:
            module.leave()


def install() -> None:
    """Put the stand-ins into `sys.modules`, unless the originals are there. Raises ImportError without promptflow."""
    for name in HEAVY:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        origins = _imported_names(Path(spec.origin), spec.parent or name) | INSTEAD.get(name, {})
        sys.modules[name] = StandIn(spec, origins)


def _imported_names(file: Path, package: str) -> dict[str, Origin]:
    """What `from … import …` statements of the file offer: name -> (module, name there)."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: dict[str, Origin] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.util.resolve_name("." * node.level + node.module, package)
            names.update({alias.asname or alias.name: (module, alias.name) for alias in node.names})
    return names
