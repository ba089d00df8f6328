"""Runs `run.yml` and `run_evaluation.yml` of a folder as promptflow does. For promptflow's Python, with its home prepared.

web_classification_pf.py FOLDER BASE_URL      prints answers in the order of the data, and the logged metrics
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))
from reference_run import keep_keys_in_memory


def main(folder, base_url):
    keep_keys_in_memory()
    from promptflow.client import PFClient, load_run
    from promptflow.entities import AzureOpenAIConnection

    client = PFClient()
    client.connections.create_or_update(AzureOpenAIConnection(name="aoai", api_base=base_url, api_key="dummy"))
    base = client.runs.create_or_update(load_run(f"{folder}/run.yml"))
    graded = client.runs.create_or_update(
        load_run(f"{folder}/run_evaluation.yml", params_override=[{"run": base.name}])
    )
    details = client.get_details(base, all_results=True).sort_values("inputs.line_number")
    answers = details[["outputs.category", "outputs.evidence"]].values.tolist()
    print("REFERENCE" + json.dumps({"answers": answers, "metrics": client.get_metrics(graded)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
