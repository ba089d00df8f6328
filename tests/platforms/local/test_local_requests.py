"""What callers of an endpoint see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from local_endpoints import Local, set_traffic

from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import stop_all
from orchestration.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.real
HEADER = "azureml-model-deployment"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, serving_python: Path) -> Iterator[Local]:
    surroundings = Local(tmp_path_factory.mktemp("requests"), serving_python)
    yield surroundings
    stop_all(surroundings.state)


@pytest.fixture(scope="module")
def platform(local: Local) -> LocalPlatform:
    return local.deployed("blue", "green", weights={"blue": 75, "green": 25})


@pytest.fixture
def http(local: Local, platform: LocalPlatform) -> Iterator[httpx.Client]:
    key = EndpointFolder.of(local.state, "shout-local").key()
    url = platform.url("shout-local").removesuffix("/score")
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        yield client


def test_requests_spread_by_the_weights(platform: LocalPlatform) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: platform.invoke("shout-local", {"text": "a"}), range(600)))
    by = Counter(answer.deployment for answer in answers)
    assert all(answer.body["by"] == answer.deployment for answer in answers)
    assert 100 <= by["green"] <= 200  # 150 expected, standard deviation 10.6


@pytest.mark.parametrize("name", ["blue", "green"])
def test_the_header_addresses_one_deployment_and_the_answer_names_it(platform: LocalPlatform, name: str) -> None:
    for _ in range(10):
        answer = platform.invoke("shout-local", {"text": "a"}, deployment=name)
        assert (answer.status, answer.deployment, answer.body["by"]) == (200, name, name)


def test_an_unknown_deployment_is_404(platform: LocalPlatform) -> None:
    answer = platform.invoke("shout-local", {"text": "a"}, deployment="purple")
    assert answer.status == 404
    assert "purple" in answer.body["error"]["message"]


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", "Basic KEY", "KEY", "Bearer KEYx", "bearer KEY", "Bearer ä"]
)
def test_without_the_key_there_is_no_answer(local: Local, http: httpx.Client, given: str | None) -> None:
    key = EndpointFolder.of(local.state, "shout-local").key()
    headers = {} if given is None else {"Authorization": given.replace("KEY", key).encode()}
    for method, path in (("POST", "/score"), ("GET", "/version"), ("GET", "/swagger.json")):
        answer = httpx.request(
            method, http.base_url.join(path), headers=headers, json={"text": "a"} if method == "POST" else None
        )
        assert answer.status_code == 401
        assert key not in answer.text


def test_health_needs_no_key(http: httpx.Client) -> None:
    assert httpx.get(http.base_url.join("/health")).json() == {"status": "Healthy"}


def test_version_and_description_come_from_a_deployment(http: httpx.Client) -> None:
    assert http.get("/version", headers={HEADER: "green"}).json()["deployment"] == "green"
    described = http.get("/swagger.json").json()
    schema = described["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["text"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"text": "a", "sleep": "long"}', b'{"text": NaN}', b"[" * 100_000]
)
def test_bad_inputs_are_the_callers_fault(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/score", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_inputs_are_turned_into_their_type(http: httpx.Client) -> None:
    assert http.post("/score", json={"text": 12, "sleep": "0"}).json()["label"] == "12"


def test_an_error_of_the_prompt_flow_is_500_with_its_message(platform: LocalPlatform, http: httpx.Client) -> None:
    answer = http.post("/score", json={"text": "a", "do": "raise"})
    assert answer.status_code == 500
    assert answer.json()["error"] == {"code": "Raised", "message": "ValueError: no such thing"}


def test_too_large_a_body_is_413(http: httpx.Client) -> None:
    assert http.post("/score", content=b"x" * (11 * 2**20)).status_code == 413


def test_large_answers_pass(http: httpx.Client) -> None:
    text = "ä" * 3_000_000
    assert http.post("/score", json={"text": text}, timeout=30).json()["label"] == text.upper()


def test_other_paths_and_methods_are_refused(http: httpx.Client) -> None:
    assert http.get("/score").status_code == 405
    assert http.get("/deployments/blue").status_code == 404


def test_load_tells_what_was_served_since_a_moment(platform: LocalPlatform, http: httpx.Client) -> None:
    import time

    since = time.time()
    for body in ({"text": "a"}, {"text": "a", "do": "raise"}, {}, {"text": "a", "sleep": 0.2}):
        http.post("/score", json=body, headers={HEADER: "green"})
    load = platform.load("shout-local", "green", since=since)
    assert (load.requests, load.errors) == (4, 1)
    assert 0.2 <= load.p95_seconds < 5
    assert platform.load("shout-local", "green", since=time.time() + 1).requests == 0


def test_without_traffic_only_addressed_requests_are_answered(platform: LocalPlatform) -> None:
    set_traffic(platform, {"blue": 0, "green": 0})
    try:
        answer = platform.invoke("shout-local", {"text": "a"})
        assert (answer.status, answer.body["error"]["code"]) == (503, "NoTraffic")
        assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").status == 200
    finally:
        set_traffic(platform, {"blue": 75, "green": 25})


def test_requests_run_at_the_same_time(platform: LocalPlatform) -> None:
    import time

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: platform.invoke("shout-local", {"text": "a", "sleep": 0.5}), range(8)))
    assert all(answer.status == 200 for answer in answers)
    assert time.monotonic() - started < 2.5  # one after the other takes 4
