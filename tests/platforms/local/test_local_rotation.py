"""Connections that change under what serves: taken over when its endpoint is brought up, without a lost request."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from local_endpoints import Local, eventually, until_settled
from model_provider import KEY, SOURCE, Provider

from orchestration.errors import ConfigurationError
from orchestration.model_proxy import Upstream
from orchestration.platforms.base import Answer, Endpoint, OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.real
NEW = "canary-key-rotated-4e1b"
OLD_SECRET, NEW_SECRET = "custom-secret-old-77", "custom-secret-new-88"
CUSTOM = """
import os, time
def answer(do: str = "", sleep: float = 0.0, connections={}):
    key = connections["search"]["secrets"]["key"]
    if do == "print":
        print("the key is", key, flush=True)
    time.sleep(sleep)
    return {"label": key[-2:], "by": "VERSION", "pid": os.getpid()}
"""


def deploy(local: Local, source: str) -> LocalPlatform:
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source=source))
    assert until_settled(platform, "blue").state == "Succeeded"
    return platform


def model(url: str, key: str, **more: Any) -> dict[str, Any]:
    return {"aoai": Upstream("openai", url, deployment="gpt-x", api_key=key, **more)}


def custom(secret: str) -> dict[str, Any]:
    return {"search": {"type": "custom", "values": {}, "secrets": {"key": secret}}}


def bring_up_again(platform: LocalPlatform) -> None:
    platform.create(Endpoint("shout-local"))


def ask(platform: LocalPlatform, **inputs: Any) -> Any:
    answer = platform.invoke("shout-local", inputs, deployment="blue")
    assert answer.status == 200, answer.body
    return answer.body


BRINGING_UP: list[Callable[[LocalPlatform], object]] = [bring_up_again, LocalPlatform.start_all]


@pytest.mark.parametrize("bring_up", BRINGING_UP, ids=["run", "endpoint-start"])
def test_a_rotated_key_of_a_model_is_used_from_the_next_request_on(
    local: Local, provider: str, bring_up: Callable[[LocalPlatform], object]
) -> None:
    local.connections = model(provider, KEY)
    platform = deploy(local, SOURCE)
    with ThreadPoolExecutor(1) as pool:
        pid = ask(platform, text="hi")["pid"]
        waiting = pool.submit(ask, platform, text="wait")
        eventually(lambda: len(Provider.keys) == 2)
        local.connections = model(provider, NEW)
        bring_up(platform)
        assert ask(platform, text="ho")["pid"] == pid
        Provider.go_on.set()
        assert waiting.result()["label"] == "gpt-x: wait"
    assert Provider.keys == [f"Bearer {KEY}", f"Bearer {KEY}", f"Bearer {NEW}"]
    files = [f for f in local.state.rglob("*") if f.is_file()]
    assert not [f for f in files if NEW.encode() in f.read_bytes()]


def test_another_rate_limit_alone_is_taken_over_too(local: Local, provider: str) -> None:
    local.connections = model(provider, KEY)
    platform = deploy(local, SOURCE)
    pid = ask(platform, text="hi")["pid"]
    local.connections = model(provider, KEY, requests_per_minute=60)
    bring_up_again(platform)
    began = time.monotonic()
    assert {ask(platform, text="hi")["pid"] for _ in range(3)} == {pid}
    assert time.monotonic() - began > 1


def test_a_changed_custom_connection_restarts_the_server_without_a_lost_request(local: Local) -> None:
    local.connections = custom(OLD_SECRET)
    platform = deploy(local, CUSTOM)
    pid = ask(platform)["pid"]
    answers: list[Answer] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            answers.append(platform.invoke("shout-local", {}, deployment="blue"))

    with ThreadPoolExecutor(3) as pool, contextlib.ExitStack() as calling:
        slow: Future[Any] = pool.submit(ask, platform, sleep=2)
        calls = [pool.submit(call) for _ in range(2)]
        calling.callback(stop.set)
        eventually(lambda: len(answers) > 20)
        local.connections = custom(NEW_SECRET)
        bring_up_again(platform)
        eventually(lambda: any(a.status == 200 and a.body["label"] == "88" for a in answers))
        calling.close()
        for each in calls:
            each.result()
        assert slow.result() == {"label": "77", "by": "blue", "pid": pid}
    assert {a.status for a in answers} == {200}
    assert ask(platform)["pid"] != pid
    eventually(lambda: not psutil.pid_exists(pid))
    assert platform.get(OnlineDeployment.kind, "blue", endpoint="shout-local").state == "Succeeded"


def test_after_a_change_both_secrets_are_redacted_and_on_no_disk(local: Local) -> None:
    local.connections = custom(OLD_SECRET)
    platform = deploy(local, CUSTOM)
    ask(platform, do="print")
    local.connections = custom(NEW_SECRET)
    bring_up_again(platform)
    eventually(lambda: ask(platform, do="print")["label"] == "88")

    def logs() -> str:
        return platform.logs(OnlineDeployment.kind, "blue", endpoint="shout-local")

    eventually(lambda: logs().count("the key is [redacted]") >= 2)
    files = [f for f in local.state.rglob("*") if f.is_file()]
    assert not [f for f in files if any(s.encode() in f.read_bytes() for s in (OLD_SECRET, NEW_SECRET))]


def test_the_same_connections_again_change_nothing(local: Local) -> None:
    local.connections = custom(OLD_SECRET)
    platform = deploy(local, CUSTOM)
    folder = EndpointFolder.of(local.state, "shout-local")
    pid, before = ask(platform)["pid"], folder.state_file.stat()
    for _ in range(3):
        bring_up_again(platform)
        assert platform.start_all() == []
    assert ask(platform)["pid"] == pid
    assert (folder.state_file.stat().st_ino, folder.state_file.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_where_nothing_starts_with_the_new_secrets_the_old_server_goes_on(local: Local) -> None:
    local.connections = custom(OLD_SECRET)
    # It ends at its start once the flag is there, as one that checks its key would.
    picky = CUSTOM.replace(
        "import os, time\n", "import os, time\nfrom pathlib import Path\nif Path('FLAG').exists(): os._exit(3)\n"
    ).replace("FLAG", str(local.folder / "flag"))
    platform = deploy(local, picky)
    pid = ask(platform)["pid"]
    (local.folder / "flag").touch()
    local.connections = custom(NEW_SECRET)
    bring_up_again(platform)
    eventually(lambda: "exit code 3" in platform.logs(OnlineDeployment.kind, "blue", endpoint="shout-local"))
    assert ask(platform)["pid"] == pid
    (local.folder / "flag").unlink()
    eventually(lambda: ask(platform)["label"] == "88")
    eventually(lambda: not psutil.pid_exists(pid))


def test_what_can_no_longer_be_resolved_goes_on_as_it_is_and_says_so(
    local: Local, caplog: pytest.LogCaptureFixture
) -> None:
    local.connections = custom(OLD_SECRET)
    platform = deploy(local, CUSTOM)

    def unresolved(_: object) -> dict[str, dict[str, str]]:
        raise ConfigurationError("SEARCH_KEY is not set.")

    platform._upstreams = unresolved
    with caplog.at_level(logging.WARNING):
        assert platform.start_all() == []
    assert "shout-local/blue: SEARCH_KEY is not set." in caplog.text
    assert ask(platform)["label"] == "77"
