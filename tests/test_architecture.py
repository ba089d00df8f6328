"""What the layout promises: entry files load, nothing shadows a module, the deployed surface is as listed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FLOWS = ROOT / "orchestration" / "prefect_flows"
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("path", sorted(FLOWS.glob("*.py")), ids=lambda path: path.name)
def test_no_file_beside_an_entry_file_shadows_an_importable_module(path: Path) -> None:
    if path.stem == "__init__":
        return
    # A file entrypoint puts its folder first on sys.path: `import <stem>` would then find this file.
    spec = importlib.util.find_spec(path.stem)
    assert spec is None, f"{path.name} would shadow {spec.origin if spec else ''}"


def test_the_deployed_surface() -> None:
    listed = {each["name"]: (each["entrypoint"], each["parameters"], each["work_pool"]["name"]) for each in DEPLOYMENTS}
    entry = "orchestration/prefect_flows/evaluate_deploy.py:evaluate_deploy"
    assert listed == {name: (entry, {"environment": name}, "sluice") for name in ("local", "pr", "dev", "qa", "prod")}
    for name in listed:
        assert (ROOT / "config" / f"{name}.yaml").exists()


def test_the_entry_file_loads_as_a_script_and_has_the_flow() -> None:
    check = (
        "from prefect.flows import load_flow_from_entrypoint as load\n"
        "flow = load('orchestration/prefect_flows/evaluate_deploy.py:evaluate_deploy')\n"
        "print(flow.name, sorted(flow.parameters.properties))\n"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "evaluate-deploy ['commit', 'environment', 'fresh', 'prompt_flow', 'settings']", (
        done.stderr
    )


def test_the_task_table_names_every_step_once() -> None:
    check = (
        "from prefect import Task\n"
        "from orchestration.prefect_flows import task_table\n"
        "tasks = [t for t in vars(task_table).values() if isinstance(t, Task)]\n"
        "assert len({t.name for t in tasks}) == len(tasks) >= 12\n"
        "assert all(t.description and t.retries == 2 and t.persist_result is False for t in tasks), tasks\n"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_locks_name_no_package_index() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        assert "--index-url" not in text, lock.name
        assert "--hash=sha256:" in text, lock.name
