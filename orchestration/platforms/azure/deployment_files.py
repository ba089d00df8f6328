"""The files of deployments/<prompt flow>/: Azure ML's own CLI schema, defaults below, an environment's overlay above.

They are read from the candidate's snapshot, never from the working tree, and never written.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from orchestration.candidates import read_manifest
from orchestration.errors import ConfigurationError, PlatformError
from orchestration.settings import Settings
from orchestration.settings.layers import Layer, Layers
from orchestration.validation import Problem, nearest, refuse
from orchestration.values import Candidate, Json
from orchestration.yaml_files import Loc, parse_yaml, read_text

FOLDER: Final = "deployments"  # in the project, and in a candidate
DEFAULTS: Final = "Sluicegate's defaults"  # the name of the lowest layer
UNKNOWN: Final = "Unknown field."  # how marshmallow says it


@dataclass(frozen=True, slots=True)
class Document:
    """One kind of resource as the files describe it, and where each key stands."""

    data: Mapping[str, Any]
    layers: Layers
    origin: Path

    def refuse(self, loc: Loc, message: str, cure: str = "") -> ConfigurationError:
        """The error about a key."""
        return refuse(Problem(loc, message, cure), self.layers.place)

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Json]:
        """What will be sent, in the CLI's schema: the files' keys with `values` in their place."""
        return {key: value for key, value in {**self.data, **values}.items() if key != "$schema"}

    def load(self, loader: Callable[..., Any], values: Mapping[str, Any], *, keys: Sequence[str]) -> Any:
        """The resource as azure-ai-ml loads it, with `values` set; `keys` are what may stand in the file.

        Raises `ConfigurationError` with the place of the first key that its schema does not know or take.
        """
        from azure.ai.ml.exceptions import MlException  # noqa: PLC0415 - takes a second
        from marshmallow import ValidationError  # noqa: PLC0415 - comes with azure-ai-ml

        source = io.StringIO(json.dumps(dict(self.data)))
        overrides = [{key: value} for key, value in values.items()]
        try:
            return loader(source=source, relative_origin=str(self.origin), params_override=overrides)
        except ValidationError as error:
            self._explain(error, keys)
        except (MlException, AttributeError, TypeError) as error:  # values of kinds that its loaders don't expect
            raise self.refuse((), f"azure-ai-ml can't load this: {error}.") from error

    def _explain(self, error: Any, keys: Sequence[str]) -> NoReturn:
        said = getattr(error.__cause__, "messages", None) or error.messages
        problems = list(_problems(said)) or [((), " ".join(str(error).split()))]
        loc, text = min(problems, key=lambda each: self.layers.place(each[0]).line or 0)
        last = str(loc[-1]) if loc else ""
        if text == UNKNOWN:
            cure = nearest(last, keys) if len(loc) == 1 else ""
            known = cure if cure.startswith("Did") else "Azure ML's CLI reference lists what may stand here."
            raise self.refuse(loc, f"unknown key {last!r}.", known)
        raise self.refuse(loc, f"{text.rstrip('.')[:300]}.")


def find_candidate(settings: Settings, *, prompt_flow: str, content_hash: str = "") -> Candidate | None:
    """The candidate of this machine with that content, or of that prompt flow, that was taken last."""
    folders = [path for path in (settings.state / "candidates").glob("*") if not path.name.startswith(".")]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(ConfigurationError):  # another candidate that can't be read is not in the way
            found = read_manifest(folder).candidate
            if found.prompt_flow == prompt_flow and content_hash in ("", found.content_hash):
                return found
    return None


def need_candidate(settings: Settings, *, prompt_flow: str, content_hash: str) -> Candidate:
    """The same. Raises `PlatformError`."""
    found = find_candidate(settings, prompt_flow=prompt_flow, content_hash=content_hash)
    if found is None:
        message = f"The snapshot of {prompt_flow} with the content {content_hash[:12]} is not on this machine."
        raise PlatformError(message, cure=f"Next: sluice run {prompt_flow} -e {settings.environment}")
    return found


def read_document(candidate: Candidate | None, kind: str, *, environment: str, defaults: Mapping[str, Any]) -> Document:
    """`<kind>.yaml` with `<kind>.<environment>.yaml` over it, each of which may be absent. Raises `ConfigurationError`."""
    folder = candidate.folder / FOLDER if candidate else Path(FOLDER)
    shown = f"{FOLDER}/{candidate.prompt_flow if candidate else ''}"
    found = [Layer(DEFAULTS, defaults)]
    for name in (f"{kind}.yaml", f"{kind}.{environment}.yaml"):
        if (folder / name).is_file():
            file = parse_yaml(read_text(folder / name, root=folder), name=f"{shown}/{name}")
            found.append(Layer(file.name, file.data, file))
    layers = Layers(tuple(found))
    return Document(layers.merged(), layers, folder / f"{kind}.yaml")


def _problems(said: Any, loc: Loc = ()) -> Iterator[tuple[Loc, str]]:
    """The messages of marshmallow with their places."""
    if isinstance(said, Mapping):
        for key, below in said.items():
            yield from _problems(below, loc if key == "_schema" else (*loc, key))
    elif isinstance(said, list | tuple):
        for each in said:
            yield from _problems(each, loc)
    else:
        yield loc, re.sub(r"\s+", " ", str(said)).strip()
