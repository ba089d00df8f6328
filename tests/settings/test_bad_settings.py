"""Each mistake gives one line with file, line, key and cure, and creates nothing."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestration.errors import ConfigurationError
from orchestration.settings import load_settings

FULL = """\
default_prompt_flow: demo
state_folder: .sluice
runtimes_folder: .sluice/r
platform: azure
azure:
  subscription_id: 00000000-0000-4000-8000-000000000001
  resource_group: group
  workspace: space
  credential:
    kind: client_secret
    tenant_id: contoso.example
    client_id: 00000000-0000-4000-8000-000000000002
    client_secret:
      env: AZURE_SECRET
  image: mcr.microsoft.com/azureml/promptflow/promptflow-runtime:20240116.v1
  endpoint_identity: system
  grant_access: true
  poll_seconds: 10
  deadlines:
    endpoint: 1200
    deployment: 3600
    access: 900
    removal: 1800
  tracking_uri: https://mlflow.example
place: worker
connections:
  aoai:
    kind: azure_openai
    api_base: https://a.example
    api_version: "2024-10-21"
    api_key:
      env: AOAI_API_KEY
    model_deployment: gpt
    requests_per_minute: 60
    tokens_per_minute: 1000
    prices:
      prompt_per_million: 1.5
      completion_per_million: 2
evaluation:
  in_flight: 4
  row_timeout_seconds: 5
  deadline_seconds: 100
  limit_deadline_seconds: 10
  max_tokens: 1000
  max_price: 1.5
gate:
  min_rows: 3
  max_failed_ratio: 0.1
  rules:
    - metric: accuracy
      above: 0.6
rollout:
  steps: [10, 100]
  step_seconds: 1
  ready_timeout_seconds: 5
  drain_seconds: 1
  min_requests: 1
  max_error_ratio: 0.1
  max_p95_seconds: 2
  keep: 1
endpoint:
  name: demo-dev
  host: 127.0.0.1
  port: 0
evaluate_only: false
allow_dirty: true
prefect:
  port: 0
"""

MISTAKES = {
    "unknown key": ("rolout:\n  keep: 1\n", "config/dev.yaml:1:rolout: unknown key 'rolout'. Did you mean 'rollout'?"),
    "unknown key below": (
        "\ngate:\n  min_row: 5\n",
        "config/dev.yaml:3:gate.min_row: unknown key 'min_row'. Did you mean 'min_rows'?",
    ),
    "wrong type": (
        'evaluation:\n  in_flight: "8"\n',
        'config/dev.yaml:2:evaluation.in_flight: found "8", expected a whole number. Write 8 without quotes.',
    ),
    "a word for a switch": (
        "allow_dirty: yes\n",
        'config/dev.yaml:1:allow_dirty: found "yes", expected true or false. Write true.',
    ),
    "nothing": ("rollout:\n", "config/dev.yaml:1:rollout: found nothing, expected keys with values."),
    "percentage": (
        "gate:\n  rules:\n    - metric: accuracy\n      above: 60\n",
        "config/dev.yaml:4:gate.rules.0.above: 60 is not between 0 and 1. Write 0.6.",
    ),
    "percentage of failed rows": (
        "gate:\n  max_failed_ratio: 5\n",
        "config/dev.yaml:2:gate.max_failed_ratio: 5 is not between 0 and 1. Write 0.05.",
    ),
    "percentage of a built-in ratio": (
        "gate:\n  rules: [{metric: failed_ratio, max: 10}]\n",
        "config/dev.yaml:2:gate.rules.0.max: 10 is not between 0 and 1. Write 0.1.",
    ),
    "two limits": (
        "gate:\n  rules:\n    - metric: accuracy\n      above: 0.6\n      max: 1\n",
        "config/dev.yaml:3:gate.rules.0: needs exactly one of above, min, below, max.",
    ),
    "not a number": (
        "gate:\n  max_failed_ratio: .nan\n",
        "config/dev.yaml:2:gate.max_failed_ratio: found nan, expected a finite number.",
    ),
    "out of bounds": (
        "evaluation: {in_flight: 0}\n",
        "config/dev.yaml:1:evaluation.in_flight: 0 is not between 1 and 512.",
    ),
    "below the bound": ("gate: {min_rows: 0}\n", "config/dev.yaml:1:gate.min_rows: found 0, expected at least 1."),
    "more to keep than one": (
        "rollout: {keep: 2}\n",
        "config/dev.yaml:1:rollout.keep: found 2, expected 0 or 1.",
    ),
    "choice": (
        "platform: azzure\n",
        "config/dev.yaml:1:platform: found \"azzure\", expected 'local' or 'azure'. Did you mean 'azure'?",
    ),
    "a key in the file": (
        "connections:\n  aoai:\n    kind: openai\n    api_key: sk-canary\n",
        "config/dev.yaml:4:connections.aoai.api_key: found text, expected keys with values.",
    ),
    "reference": (
        "connections:\n  aoai:\n    kind: openai\n    api_key: {evn: KEY}\n",
        "config/dev.yaml:4:connections.aoai.api_key.evn: unknown key 'evn'. Did you mean 'env'?",
    ),
    "key of another kind": (
        "connections:\n  aoai:\n    kind: offline\n    api_base: https://a.example\n",
        (
            "config/dev.yaml:4:connections.aoai.api_base: a connection of kind offline has no 'api_base'. "
            "It has model_deployment, prices, requests_per_minute, tokens_per_minute."
        ),
    ),
    "no address": (
        "connections:\n  aoai:\n    kind: azure_openai\n",
        (
            "config/dev.yaml:2:connections.aoai.api_base: a connection of kind azure_openai needs api_base. "
            "Write api_base: https://<resource>.openai.azure.com."
        ),
    ),
    "clear text": (
        "connections:\n  aoai:\n    kind: azure_openai\n    api_base: http://a.example\n",
        "config/dev.yaml:4:connections.aoai.api_base: would send the key in clear text: write https.",
    ),
    "no kind": (
        "connections:\n  search:\n    values: {a: b}\n",
        (
            "config/dev.yaml:2:connections.search.kind: the key 'kind' is missing. It is: `offline` answers on this "
            "machine without any account; `openai` is any compatible address; `workspace` is kept by the Azure "
            "Machine Learning workspace."
        ),
    ),
    "steps": (
        "rollout:\n  steps: [50, 10, 100]\n",
        "config/dev.yaml:2:rollout.steps: steps must increase and end with 100, as in [10, 50, 100].",
    ),
    "price without prices": (
        "connections: {aoai: {kind: openai}}\nevaluation:\n  max_price: 1\n",
        (
            "config/dev.yaml:3:evaluation.max_price: a price ceiling needs to know what the connection 'aoai' costs. "
            "Set connections.aoai.prices, or use max_tokens."
        ),
    ),
    "twice": (
        "allow_dirty: true\nrollout: {keep: 1}\nallow_dirty: false\n",
        "config/dev.yaml:3: the key 'allow_dirty' stands here for the second time. Remove one.",
    ),
    "no YAML": (
        "rollout: [1, 2\n",
        "config/dev.yaml:2: is not valid YAML: expected ',' or ']', but got '<stream end>'.",
    ),
    "no keys": ("- a\n", "config/dev.yaml:1: found a list, expected keys with values."),
    "key that is no text": ("1: a\n", "config/dev.yaml:1:1: the key 1 is not text; put it in quotes."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gives_one_line_with_place_and_cure(mistake, root, settings_of):
    text, message = MISTAKES[mistake]
    with pytest.raises(ConfigurationError) as error:
        settings_of(text)
    assert str(error.value) == message
    assert "\n" not in str(error.value)
    assert not (root / ".sluice").exists()


def test_unknown_environment_names_the_nearest(root):
    with pytest.raises(ConfigurationError, match=r"^config: there is no environment 'prdo'\. Did you mean 'prod'\?$"):
        load_settings(root, "prdo")
    with pytest.raises(ConfigurationError, match="There is dev, prod"):
        load_settings(root, "../secrets")


def test_a_mistake_in_base_is_placed_there(root):
    (root / "config" / "base.yaml").write_text("connections: {}\nrollout:\n  keep: many\n")
    with pytest.raises(ConfigurationError, match=r"^config/base\.yaml:3:rollout\.keep: found \"many\""):
        load_settings(root, "dev")


def test_a_mistake_on_the_command_line_is_placed_there(settings_of):
    with pytest.raises(ConfigurationError, match=r"^command line:rollout\.keep: found"):
        settings_of(command_line={"rollout.keep": "two"})


def test_state_folder_that_is_a_file(root, settings_of):
    (root / "taken").write_text("")
    with pytest.raises(ConfigurationError) as error:
        settings_of("state_folder: taken/below\n")
    assert str(error.value) == (
        "config/dev.yaml:1:state_folder: the folder taken/below lies below taken, which is a file. Choose another."
    )


def test_state_folder_that_cannot_be_read(root, settings_of):
    folder = root / ".sluice"
    folder.mkdir(mode=0)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write every folder")
    try:
        with pytest.raises(ConfigurationError, match="can't be read and written"):
            settings_of()
    finally:
        folder.chmod(0o700)


def _paths(value, loc=()):
    """Every key of a mapping, below the names of connections too, which are free."""
    if isinstance(value, dict):
        for key, item in value.items():
            if loc != ("connections",):
                yield (*loc, key)
            yield from _paths(item, (*loc, key))


DATA = YAML(typ="safe").load(FULL)
PATHS = sorted(set(_paths(DATA)))


def _at(data, loc):
    for part in loc:
        data = data[part]
    return data


def _line(loc):
    """The line of a key of FULL, where every key but list items has a line of its own."""
    line, lines = 0, FULL.splitlines()
    for depth, part in enumerate(loc):
        while not lines[line].startswith("  " * depth + f"{part}:"):
            line += 1
    return line + 1


# Nothing there means: unset.
OPTIONAL = {("azure",), ("connections", "aoai", "api_key"), ("connections", "aoai", "prices")}


def _corrupt(loc, how):
    """FULL with one key mistyped, or its value and all below replaced; and the place that is to be named."""
    lines, line = FULL.splitlines(), _line(loc)
    head, value = lines[line - 1].partition(":")[0], _at(DATA, loc)
    if how == "typo":
        return [*lines[: line - 1], lines[line - 1].replace(f"{loc[-1]}:", f"{loc[-1]}x:", 1), *lines[line:]]
    below = next((i for i in range(line, len(lines)) if not lines[i].startswith(" " * (2 * len(loc)))), len(lines))
    wrong = "[[1]]" if isinstance(value, str) else "wrong" if how == "type" or loc in OPTIONAL else ""
    if not isinstance(value, dict) and not wrong:
        wrong = "{a: 1}"
    return [*lines[: line - 1], f"{head}: {wrong}", *lines[below:]]


@hypothesis_settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loc=st.sampled_from(PATHS), how=st.sampled_from(["type", "typo", "kind"]))
def test_any_single_corruption_is_refused_at_its_place(root, settings_of, loc, how):
    with pytest.raises(ConfigurationError) as error:
        settings_of("\n".join(_corrupt(loc, how)))
    key = ".".join(loc) + ("x" if how == "typo" else "")
    place = error.value.at
    assert (place.file, place.line, place.key) == ("config/dev.yaml", _line(loc), key)
    assert not (root / ".sluice").exists()
