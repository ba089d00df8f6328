"""`python engine.py ORDER.json`: one batch run by promptflow's own engine, as a compute session of Azure runs it.

Runs with the interpreter of a runtime that has promptflow and its Azure client; imports nothing of the emulator. All
lines share one process, so user code that ends it ends the run. Connections are read from the workspace by
promptflow's own provider, with the managed identity that the environment leads to. Leaves `outcome.json`,
`flow_outputs/` and `flow_artifacts/` in the order's `out`; what promptflow logs goes to standard output.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from azure.identity import ManagedIdentityCredential
from promptflow._constants import LINE_NUMBER_KEY
from promptflow._utils.exception_utils import ExceptionPresenter
from promptflow._utils.flow_utils import parse_variant
from promptflow._utils.yaml_utils import dump_yaml, load_yaml
from promptflow.batch import BatchEngine
from promptflow.core._connection_provider._workspace_connection_provider import WorkspaceConnectionProvider
from promptflow.storage import AbstractRunStorage
from promptflow.tracing._utils import serialize

BATCH = 25  # lines in one file of flow_artifacts
VALUE = re.compile(r"\$\{([^.}]+)\.([^}]+)\}")


class Connections(WorkspaceConnectionProvider):
    """The workspace's connections; promptflow also asks it for what is one already."""

    def get(self, name, **kwargs):
        return super().get(name, **kwargs) if isinstance(name, str) else name


class Storage(AbstractRunStorage):
    """Keeps the records of lines, each of which comes more than once."""

    def __init__(self):
        self.lines = {}

    def persist_flow_run(self, run_info):
        line = self.lines[run_info.index] = serialize(run_info)
        if isinstance(line["output"], dict):
            line["output"] = {name: value for name, value in line["output"].items() if name != LINE_NUMBER_KEY}

    def persist_node_run(self, run_info):
        pass


class Engine(BatchEngine):
    """The engine with its lines in their order: its aggregation takes the n-th result for the n-th input."""

    async def _exec_batch(self, line_results, batch_inputs, run_id=None):
        await super()._exec_batch(line_results, batch_inputs, run_id)
        line_results.sort(key=lambda each: each.run_info.index)


def main(order_file):
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    out, storage = Path(order["out"]), Storage()
    try:
        outcome = run(order, out, storage)
    except Exception as error:  # noqa: BLE001 - user code may raise anything, and the run's error tells it
        outcome = {"status": "Failed", "error": ExceptionPresenter.create(error).to_dict()}
    lines = [storage.lines[index] for index in sorted(storage.lines)]
    write_artifacts(lines, out / "flow_artifacts")
    # Written last, in one step: without it the process did not come to its end.
    (out / "outcome.tmp").write_text(json.dumps({**outcome, "lines": lines}, default=str), encoding="utf-8")
    (out / "outcome.tmp").rename(out / "outcome.json")


def run(order, out, storage):
    folder = Path(order["folder"])
    provider = Connections(**order["workspace"], credential=ManagedIdentityCredential())
    set_environment(order["environment"], provider)
    change(folder / order["file"], order)
    engine = Engine(
        Path(order["file"]),
        folder,
        connections=provider,
        storage=storage,
        batch_use_async=True,
        init_kwargs=order["init"] or None,
    )
    (out / "flow_outputs").mkdir(parents=True)
    result = engine.run(order["inputs"], order["mapping"], out / "flow_outputs", run_id=order["run"])
    counts = {"completed": result.completed_lines, "failed": result.failed_lines}
    errors = serialize(result.error_summary)
    return {
        "status": result.status.value,
        "counts": counts,
        "nodes": dict(result.node_status),
        "metrics": dict(result.metrics),
        "tokens": result.system_metrics.to_dict(),
        "error": errors["batch_error_dict"],
    }


def set_environment(given, provider):
    """Put the run's variables into the environment, `${connection.key}` in them resolved."""

    def resolved(found):
        connection = provider.get(found[1])
        return str(connection[found[2]] if hasattr(connection, "__getitem__") else getattr(connection, found[2]))

    os.environ.update({name: VALUE.sub(resolved, str(value)) for name, value in given.items()})


def change(file, order):
    """Put the run's variant and connections into the flow's definition."""
    if order["variant"] or order["connections"]:
        from promptflow._sdk._orchestrator.utils import overwrite_connections, overwrite_variant  # seconds

        definition = load_yaml(file)
        if order["variant"]:
            overwrite_variant(definition, *parse_variant(order["variant"]))
        overwrite_connections(definition, order["connections"], working_dir=file.parent)
        with file.open("w", encoding="utf-8") as stream:
            dump_yaml(definition, stream)


def write_artifacts(lines, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(lines), BATCH):
        records = [
            {"line_number": each["index"], "run_info": each, "status": each["status"]}
            for each in lines[first : first + BATCH]
        ]
        text = "".join(f"{json.dumps(record, default=str)}\n" for record in records)
        (folder / f"{first:09d}_{first + BATCH - 1:09d}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
