"""What of the emulator is pure: Containerfiles, durations, traffic, the addresses of stored things."""

from __future__ import annotations

import random
import textwrap
from collections import Counter

import pytest
from azure_emulator import containerfile, durations, storage_paths
from azure_emulator.arm_ids import ArmId
from azure_emulator.azurite import SOURCES
from azure_emulator.blob import BlobStorage
from azure_emulator.cloud import Cloud
from azure_emulator.images import ROOT
from azure_emulator.machine_learning import add_workspace, traffic
from endpoint_world import CONTAINERFILE


def read(text: str) -> containerfile.Described:
    return containerfile.read(textwrap.dedent(text))


def test_a_containerfile_says_what_to_run() -> None:
    found = read(CONTAINERFILE)
    assert found == containerfile.Described(
        ("python", "server.py"), "/app", {"WHO": "nobody", "SOURCES": "/app/lib:/application"}
    )


def test_only_the_last_stage_of_a_containerfile_counts() -> None:
    found = read(
        """
        FROM a AS build
        ENV A=1
        CMD ["make"]
        FROM b
        WORKDIR /srv
        WORKDIR deep
        ENV B two words
        entrypoint ["serve"]
        CMD --port 80
        """
    )
    assert found == containerfile.Described(("serve", "/bin/sh", "-c", "--port 80"), "/srv/deep", {"B": "two words"})


@pytest.mark.parametrize("text", ["FROM a\n", "", 'FROM a\nCMD ["open\n'])
def test_a_containerfile_without_a_command_is_refused(text: str) -> None:
    with pytest.raises(containerfile.Unreadable):
        containerfile.read(text)


@pytest.mark.parametrize(("text", "seconds"), [("PT1M30S", 90), ("PT0.5S", 0.5), ("P1DT1H", 90000), ("PT5S", 5)])
def test_durations(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "5", "PT5", "T5S"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        durations.seconds(text)


STATES = {"blue": "Succeeded", "green": "Succeeded", "red": "Failed"}


@pytest.mark.parametrize(
    ("weights", "mirrored", "said"),
    [
        ({}, {}, None),
        ({"blue": 0}, {}, None),
        ({"blue": 90, "green": 10}, {}, None),
        ({"blue": 100}, {"green": 50}, None),
        ({"red": 0, "blue": 100}, {}, None),
        ({"blue": 99}, {}, "sum to 0 or 100"),
        ({"blue": 100, "green": 100}, {}, "sum to 0 or 100"),
        ({"blue": -100, "green": 200}, {}, "from 0 to 100"),
        ({"blue": 100.0}, {}, "whole numbers"),
        ({"blue": True}, {}, "whole numbers"),
        ({"nobody": 0, "blue": 100}, {}, "not found in endpoint: nobody"),
        ({"red": 100}, {}, "red is in Failed provisioning state"),
        ({"blue": 100}, {"green": 51}, "exceed 50"),
        ({"blue": 100}, {"green": 10, "blue": 10}, "only one deployment"),
        ({"blue": 100}, {"red": 10}, "red is in Failed"),
    ],
)
def test_the_rules_of_traffic(weights: dict[str, int], mirrored: dict[str, int], said: str | None) -> None:
    problem = traffic.objection(weights, mirrored, STATES)
    assert (problem is None) if said is None else (problem is not None and said in problem)


def test_requests_are_spread_by_weight() -> None:
    chance = random.Random(7)
    seen = Counter(traffic.next_deployment({"blue": 90, "green": 10, "red": 0}, chance) for _ in range(10_000))
    assert set(seen) == {"blue", "green"}
    assert 900 < seen["green"] < 1100
    assert traffic.next_deployment({"blue": 0}, chance) is None
    mirrored = Counter(traffic.mirror_of({"green": 20}, chance) for _ in range(10_000))
    assert 1900 < mirrored["green"] < 2100
    assert traffic.mirror_of({}, chance) is None


def test_addresses_of_stored_things(unstarted: Cloud) -> None:
    workspace = add_workspace(unstarted)
    other = add_workspace(unstarted, name="other")
    asset = ArmId.parse(f"{workspace.id}/models/m/versions/1")
    assert asset is not None
    group = f"azureml://subscriptions/{other.subscription_id}/resourcegroups/rg"
    host = unstarted.of(BlobStorage).host
    for uri, expected in (
        ("azureml://datastores/workspaceblobstore/paths/a/b%20c", (workspace.container, "a/b c")),
        (f"{group}/workspaces/other/datastores/workspaceblobstore/paths/a/", (other.container, "a")),
        (f"https://{host}/box/a/b/?sig=1", ("box", "a/b")),
        ("azureml://datastores/nobody/paths/a", None),
        (f"{group}/workspaces/nobody/datastores/workspaceblobstore/paths/a", None),
        ("https://somebody.blob.core.windows.net/box/a", None),
        ("wasb://old", None),
    ):
        found = storage_paths.find(unstarted, uri, asset)
        assert (None if found is None else (found.container, found.path)) == expected, uri


@pytest.fixture
def unstarted() -> Cloud:
    from azure_emulator import emulator

    return emulator()


def test_the_lock_of_azurite_names_no_address() -> None:
    import json

    text = (ROOT / "tests" / "azure_emulator" / SOURCES[1]).read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
    wanted = json.loads((ROOT / "tests" / "azure_emulator" / SOURCES[0]).read_text())["dependencies"]["azurite"]
    assert packages["node_modules/azurite"]["version"] == wanted
