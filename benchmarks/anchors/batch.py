"""Runs in promptflow's environment: one batch run of a prompt flow as promptflow itself does it.

`python batch.py FLOW DATA ROWS [BASE_URL]`. With an address, the connection `aoai` is made first. Exit code 1 unless
every row completed.
"""

from __future__ import annotations

import sys

from promptflow.client import PFClient
from promptflow.entities import OpenAIConnection


def main(flow: str, data: str, rows: int, base_url: str | None) -> int:
    """Run the batch; returns the exit code."""
    client = PFClient()
    if base_url:
        client.connections.create_or_update(OpenAIConnection(name="aoai", api_key="none", base_url=base_url))
    run = client.run(flow=flow, data=data, column_mapping={"text": "${data.text}"})
    completed = run.properties["system_metrics"].get("__pf__.lines.completed", 0)
    print(f"{run.status}: {completed} of {rows}")
    return 0 if run.status == "Completed" and completed == rows else 1


if __name__ == "__main__":  # its workers import this file
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None))
