from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orchestration.errors import ConfigurationError
from orchestration.prefect_flows import private_server


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect-home"))
    return tmp_path


def profile(root: Path, url: str) -> None:
    home = root / "prefect-home"
    home.mkdir()
    (home / "profiles.toml").write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n')


def test_without_a_choice_of_the_user_there_is_none(root: Path) -> None:
    assert private_server.user_api_url(root) is None


def test_the_users_choice_wins_in_prefects_own_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile(root, "http://profile/api")
    assert private_server.user_api_url(root) == "http://profile/api"
    (root / "prefect.toml").write_text('[api]\nurl = "http://toml/api"\n')
    assert private_server.user_api_url(root) == "http://toml/api"
    (root / ".env").write_text("OTHER=1\nPREFECT_API_URL='http://dotenv/api'\n")
    assert private_server.user_api_url(root) == "http://dotenv/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://environment/api")
    assert private_server.user_api_url(root) == "http://environment/api"
    server = private_server.ensure_server(root, root / ".sluice")
    assert (server.api_url, server.own) == ("http://environment/api", False)
    assert not (root / ".sluice").exists()


def test_our_own_prefect_toml_is_no_choice_of_the_user(root: Path) -> None:
    (root / "prefect.toml").write_text(f'{private_server.MARK}\n[api]\nurl = "http://127.0.0.1:1/api"\n')
    assert private_server.user_api_url(root) is None


def test_a_broken_prefect_toml_is_named(root: Path) -> None:
    (root / "prefect.toml").write_text("[api\n")
    with pytest.raises(ConfigurationError, match=r"prefect\.toml"):
        private_server.user_api_url(root)


def test_a_port_in_use_is_refused_by_its_key_before_anything_is_started(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"prefect\.port.*{port}"):
            private_server.ensure_server(root, root / ".sluice", port=port)
    assert not (root / "prefect.toml").exists()


def test_down_leaves_a_users_prefect_toml_alone(root: Path) -> None:
    (root / "prefect.toml").write_text('[api]\nurl = "http://toml/api"\n')
    assert private_server.stop_server(root, root / ".sluice") is False
    assert (root / "prefect.toml").exists()
