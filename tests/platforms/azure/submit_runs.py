"""`python submit_runs.py ORDER.json`: runs submitted by promptflow's own client, unchanged; prints what it learns as JSON.

Runs with the interpreter of a runtime of requirements/promptflow-azure.txt. The order: `workspace` (arguments of the
client), `sign_in` (arguments of the credential; the secret is in AZURE_SECRET), and `runs`: a list of arguments of a
`Run` each, in which `run` is the name of an earlier one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

POLL_SECONDS, DEADLINE_SECONDS = 0.3, 150.0
FINAL = ("Completed", "Failed", "Canceled")


def main(order_file):
    from azure.identity import ClientSecretCredential
    from promptflow.azure import PFClient

    order = json.loads(Path(order_file).read_text())
    credential = ClientSecretCredential(client_secret=os.environ["AZURE_SECRET"], **order["sign_in"])
    client = PFClient(credential, **order["workspace"], enable_telemetry=False)
    learned = {"runs": {}}
    for asked in order["runs"]:
        learned["runs"][asked["name"]] = one_run(client, asked)
    learned["listed"] = sorted(each.name for each in client.runs.list())
    Path(order["learned"]).write_text(json.dumps(learned, default=str))


def one_run(client, asked):
    from promptflow.azure._restclient.flow_service_caller import FlowRequestException
    from promptflow.entities import Run

    runtime, cancel = asked.pop("runtime", None), asked.pop("cancel", False)
    download, again = asked.pop("download", None), asked.pop("again", False)
    try:
        client.runs.create_or_update(Run(**asked), runtime=runtime)
        if again:
            client.runs.create_or_update(Run(**asked), runtime=runtime)
    except FlowRequestException as refused:
        return {"refused": str(refused)}
    if cancel:
        client.runs.cancel(asked["name"])
    run, statuses = wait(client, asked["name"])
    seen = {"status": run.status, "statuses": statuses, "error": run._error, "properties": run.properties}
    seen["log"] = client.runs._get_log(run.name)
    if run.status == "Completed":
        seen["metrics"] = client.runs.get_metrics(run)
        seen["details"] = json.loads(client.runs.get_details(run, all_results=True).to_json(orient="split"))
    if download:
        client.runs.update(run, tags={"kept": "yes"}, display_name="downloaded")
        folder = Path(client.runs.download(run, output=download))
        seen["files"] = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())
        seen["tags"] = client.runs.get(run).tags
    return seen


def wait(client, name):
    """The run at its end, and the statuses that it went through."""
    statuses, deadline = [], time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        run = client.runs.get(name)
        if run.status not in statuses:
            statuses.append(run.status)
        if run.status in FINAL:
            return run, statuses
        time.sleep(POLL_SECONDS)
    raise TimeoutError(statuses)


if __name__ == "__main__":
    main(sys.argv[1])
