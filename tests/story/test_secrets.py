"""A canary key is used for a whole release and found nowhere but in the user's own .env."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
CANARY = "canary/7f3b+9e1d=5a2c"

CALLING = """
import json, os, urllib.request

def answer(question: str, connections) -> dict:
    llm = connections["aoai"]
    print("what user code can see:", json.dumps(connections), dict(os.environ))
    request = urllib.request.Request(
        llm["base_url"] + "/openai/deployments/any/chat/completions?api-version=2024-10-21",
        data=json.dumps({"messages": [{"role": "user", "content": question}]}).encode(),
        headers={"Content-Type": "application/json", "api-key": llm["api_key"]},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        json.load(reply)
    return {"answer": question.upper()}
"""


@pytest.fixture
def provider() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.embedded_model", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().strip()
    process.stdin.close()
    process.wait(timeout=20)


def spellings(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [raw, base64.b64encode(raw), quote(secret, safe="").encode(), raw[::-1], raw.replace(b"/", b"\\/")]


def files_with(root: Path, needles: list[bytes]) -> list[str]:
    return [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and any(needle in path.read_bytes() for needle in needles)
    ]


def processes_with(needles: list[bytes]) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            told = "\0".join([*process.cmdline(), *map(str, process.environ().items())]).encode("utf-8", "replace")
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if any(needle in told for needle in needles):
            found.append(process.name())
    return found


def test_a_key_is_found_nowhere(project, provider: str) -> None:
    project.flow.joinpath("tiny.py").write_text(CALLING)
    spec = project.flow / "sluice.yaml"
    spec.write_text(spec.read_text().replace("connections: []", "connections: [aoai]"))
    (project.root / ".env").write_text(f"AOAI_API_KEY={CANARY}\n")
    (project.root / ".env").chmod(0o600)
    with (project.root / "config" / "base.yaml").open("a") as config:
        config.write(
            f"connections:\n  aoai:\n    kind: azure_openai\n    api_base: {provider}\n"
            "    api_key: {env: AOAI_API_KEY}\n    model_deployment: any\n"
        )

    done = project.sluice("run", "tiny", "--json")

    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    needles = spellings(CANARY)
    assert files_with(project.root, needles) == [".env"]
    assert processes_with(needles) == []
    assert not any(needle in (done.stdout + done.stderr).encode() for needle in needles)
    logs = project.sluice("logs", "tiny").stdout + "".join(p.read_text() for p in (project.state / "logs").glob("*"))
    assert "what user code can see" in logs  # the scan did see what user code printed
    (project.state / "planted").write_text(CANARY)  # and would have found a leak
    assert files_with(project.root, needles) == [".env", ".sluice/planted"]
