"""What is served comes from the real registry, byte by byte as it was registered."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_endpoints import APP, LIMITS, Local, until_settled

from orchestration.candidates import take_candidate
from orchestration.errors import PlatformError
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.platform import LocalPlatform
from orchestration.values import Binding, Candidate

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[3]


def candidate(root: Path) -> Candidate:
    """The snapshot of a project with one prompt flow."""
    files = {
        "config/base.yaml": "connections: {}\n",
        "flows/shout/sluice.yaml": "connections: []\ngate: {}\nsample: {inputs: {}, answer: {}}\n",
        "flows/shout/run.yml": "flow: .\ndata: data.jsonl\ncolumn_mapping: {text: '${data.text}'}\n",
        "flows/shout/run_evaluation.yml": "flow: evaluator\ncolumn_mapping: {text: '${data.text}'}\n",
        "flows/shout/data.jsonl": '{"text": "x"}\n',
        "flows/shout/callable.toml": 'entry = "app:answer"\noutputs = ["label"]\n',
        "flows/shout/app.py": APP.replace("VERSION", "registered"),
        "flows/shout/evaluator/callable.toml": 'entry = "grade:grade"\n',
        "flows/shout/evaluator/grade.py": "def grade(text):\n    return {}\n",
        "requirements/promptflow.txt": "",
        "runtime/frameworks.toml": (ROOT / "runtime" / "frameworks.toml").read_text(),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return take_candidate(root, root / ".sluice", "shout")


def test_a_registered_model_is_served_and_a_changed_one_is_not(local: Local) -> None:
    platform = LocalPlatform(local.state, upstreams=lambda _: {}, limits=LIMITS)
    model = platform.register_model(candidate(local.folder / "project"), decision="d" * 64, tags={})
    binding = Binding("local", {}, "b" * 64)
    platform.create(Endpoint("shout-local"))
    platform.create(OnlineDeployment("blue", "shout-local", model, binding, local.runtime))
    assert until_settled(platform, "blue").state == "Succeeded"
    assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").body["by"] == "registered"
    file = next((local.state).rglob("app.py"))
    file.chmod(0o644)
    file.write_text(APP.replace("VERSION", "changed"))
    with pytest.raises(PlatformError, match=r"app\.py"):
        platform.create(OnlineDeployment("green", "shout-local", model, binding, local.runtime))
    assert platform.get(OnlineDeployment.kind, "green", endpoint="shout-local") is None
