from __future__ import annotations

import copy
import json
import pickle

import pytest

from orchestration.errors import ConfigurationError, Place
from orchestration.references import Reference, Secret, read_environment, resolve

AT = Place("config/dev.yaml", 4, "connections.aoai.api_key")


def test_the_environment_wins_over_the_env_file_which_is_exported_to_nobody(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("# note\nexport A_KEY='from file # kept'\nB_KEY = b # note\nnonsense\nC_KEY=\n")
    monkeypatch.setenv("B_KEY", "from environment")
    env = read_environment(tmp_path)
    assert (env["A_KEY"], env["B_KEY"]) == ("from file # kept", "from environment")
    assert resolve(Reference(env="A_KEY"), root=tmp_path).reveal() == "from file # kept"
    import os

    assert "A_KEY" not in os.environ


def test_file_and_block(tmp_path):
    (tmp_path / "key").write_text(" k \n")
    assert resolve(Reference(file="key"), root=tmp_path).reveal() == "k"
    blocks = {"secret/aoai": "v"}.get
    assert resolve(Reference(block="secret/aoai"), root=tmp_path, blocks=blocks).reveal() == "v"


@pytest.mark.parametrize("env", [{}, {"AOAI_API_KEY": "  "}])
def test_unset_or_empty_names_place_variable_and_sample(tmp_path, env):
    with pytest.raises(ConfigurationError) as error:
        resolve(Reference(env="AOAI_API_KEY"), root=tmp_path, env=env, at=AT)
    assert str(error.value) == (
        "config/dev.yaml:4:connections.aoai.api_key: the environment variable AOAI_API_KEY is not set. "
        "Copy .env.sample to .env and set AOAI_API_KEY there."
    )


def test_the_placeholder_of_the_sample_is_refused(tmp_path):
    (tmp_path / ".env.sample").write_text("AOAI_API_KEY=your-key\n")
    (tmp_path / ".env").write_text("AOAI_API_KEY=your-key\n")
    with pytest.raises(ConfigurationError, match=r"^config/dev\.yaml:4:.* still has the placeholder of \.env\.sample"):
        resolve(Reference(env="AOAI_API_KEY"), root=tmp_path, at=AT)


@pytest.mark.parametrize("reference", [Reference(file="absent"), Reference(file="."), Reference(block="secret/none")])
def test_what_cannot_be_resolved_is_one_line_at_the_reference(tmp_path, reference):
    for blocks in (None, {}.get):
        with pytest.raises(
            ConfigurationError, match=r"^config/dev\.yaml:4:connections\.aoai\.api_key: the (file|block)"
        ):
            resolve(reference, root=tmp_path, blocks=blocks, at=AT)


def test_exactly_one_kind():
    for wrong in ({}, {"env": "A", "file": "b"}):
        with pytest.raises(ValueError, match="exactly one of env, file, block"):
            Reference(**wrong)


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret("canary")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, repr({"k": secret})]  # noqa: UP031
    assert not any("canary" in text for text in shown)
    assert copy.deepcopy(secret) == secret
    for leak in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            leak(secret)
