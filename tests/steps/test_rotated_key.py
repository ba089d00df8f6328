"""A key that was rotated in `.env` is what the provider sees next."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from model_provider import Provider
from rollouts import ENDPOINT, Rollouts, Version

from orchestration.steps import endpoints, serving

pytestmark = pytest.mark.real
CALLING = """
import json, urllib.request

def answer(question: str, connections) -> dict:
    llm = connections["aoai"]
    request = urllib.request.Request(
        llm["base_url"] + "/v1/chat/completions",
        data=json.dumps({"model": "any", "messages": [{"role": "user", "content": question}]}).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer " + llm["api_key"]},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        json.load(reply)
    return {"answer": question.upper()}
"""
HOW: dict[str, Callable[[Version], object]] = {
    "run": lambda version: serving.check(version.work),
    "endpoint-start": lambda version: endpoints.start(version.work.settings),
}


@pytest.mark.parametrize("how", HOW)
def test_by_the_next_run_or_by_endpoint_start(rollouts: Rollouts, provider: str, how: str) -> None:
    root = rollouts.project.root
    spec = rollouts.project.flow / "sluice.yaml"
    spec.write_text(spec.read_text().replace("connections: []", "connections: [aoai]"))
    rollouts.set(f"connections: {{aoai: {{kind: openai, api_base: {provider}, api_key: {{env: KEY_OF_MINE}}}}}}\n")
    (root / ".env").write_text("KEY_OF_MINE=first-key\n")
    blue = rollouts.passed("blue", source=CALLING)
    rollouts.release(blue)
    (root / ".env").write_text("KEY_OF_MINE=second-key\n")
    assert set(Provider.keys) == {"Bearer first-key"}
    Provider.keys.clear()

    HOW[how](blue)

    assert rollouts.platform.invoke(ENDPOINT, {"question": "a"}).body == {"answer": "A"}
    assert Provider.keys == ["Bearer second-key"]
