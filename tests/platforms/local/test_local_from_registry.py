"""What is served comes from the real registry, byte by byte as it was registered."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_endpoints import APP, LIMITS, Local, until_settled

from orchestration.errors import PlatformError
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.platform import LocalPlatform
from orchestration.values import Binding, Candidate, sha256

pytestmark = pytest.mark.real


def candidate(folder: Path) -> Candidate:
    flow = folder / "flow"
    flow.mkdir(parents=True)
    (flow / "callable.toml").write_text('entry = "app:answer"\noutputs = ["label"]\n')
    (flow / "app.py").write_text(APP.replace("VERSION", "registered"))
    (folder / "lock.txt").write_text("")
    (folder / "sluice.yaml").write_text("connections: []\n")
    content, other = sha256(APP), "0" * 64
    return Candidate("shout", "id", "f" * 40, False, content, other, other, other, other, other, folder)


def test_a_registered_model_is_served_and_a_changed_one_is_not(local: Local) -> None:
    platform = LocalPlatform(local.state, upstreams=lambda _: {}, limits=LIMITS)
    model = platform.register_model(candidate(local.folder / "candidate"), decision="d" * 64, tags={})
    binding = Binding("local", {}, "b" * 64)
    platform.create(Endpoint("shout-local"))
    platform.create(OnlineDeployment("blue", "shout-local", model, binding, local.runtime))
    assert until_settled(platform, "blue").state == "Succeeded"
    assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").body["by"] == "registered"
    file = next((local.state).rglob("app.py"))
    file.chmod(0o644)
    file.write_text(APP.replace("VERSION", "changed"))
    with pytest.raises(PlatformError, match="changed"):
        platform.create(OnlineDeployment("green", "shout-local", model, binding, local.runtime))
    assert platform.get(OnlineDeployment.kind, "green", endpoint="shout-local") is None
