"""Runs a prompt flow the way promptflow does it itself; prints outputs by line and metrics. For promptflow's Python.

reference_run.py FLOW DATA BASE_URL
"""

import json
import os
import sys
import tempfile
from pathlib import Path


def keep_keys_in_memory():
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1

        def __init__(self):
            super().__init__()
            self.kept = {}

        def get_password(self, service, username):
            return self.kept.get((service, username))

        def set_password(self, service, username, password):
            self.kept[service, username] = password

    keyring.set_keyring(Memory())


def main(flow, data, base_url):
    from promptflow.client import PFClient
    from promptflow.entities import AzureOpenAIConnection

    keep_keys_in_memory()
    client = PFClient()
    client.connections.create_or_update(AzureOpenAIConnection(name="aoai", api_base=base_url, api_key="dummy"))
    run = client.run(flow=flow, data=data)
    details = client.get_details(run, all_results=True)
    outputs = {
        int(row["inputs.line_number"]): {
            name.removeprefix("outputs."): value for name, value in row.items() if name.startswith("outputs.")
        }
        for row in details.to_dict("records")
    }
    print("REFERENCE" + json.dumps({"outputs": outputs, "metrics": client.get_metrics(run)}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["PF_HOME_DIRECTORY"] = home
        os.environ["APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED"] = "true"
        Path(home, "pf.yaml").write_text("telemetry:\n  enabled: false\ntrace:\n  destination: none\n")
        main(*sys.argv[1:])
