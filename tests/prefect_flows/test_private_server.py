from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from orchestration import processes
from orchestration.errors import ConfigurationError, PlatformError
from orchestration.prefect_flows import private_server, services


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


def test_a_users_prefect_toml_without_a_server_is_not_written_over(root: Path) -> None:
    mine = '[logging]\nlevel = "DEBUG"\n'
    (root / "prefect.toml").write_text(mine)
    with pytest.raises(ConfigurationError, match=r"prefect\.toml: it is yours"):
        private_server.ensure_server(root, root / ".sluice")
    assert private_server.find_server(root, root / ".sluice") is None
    assert private_server.stop_server(root, root / ".sluice") is False
    assert (root / "prefect.toml").read_text() == mine


def test_a_prefect_toml_that_is_no_text_is_named(root: Path) -> None:
    (root / "prefect.toml").write_bytes(b"\xff\xfe garbage")
    with pytest.raises(ConfigurationError, match=r"prefect\.toml: .*Repair or remove"):
        private_server.ensure_server(root, root / ".sluice")


@pytest.mark.parametrize("text", ["", "[api\n", "[api]\n", "api = 3\n"])
def test_our_own_prefect_toml_that_was_cut_short_counts_as_gone(root: Path, text: str) -> None:
    (root / "prefect.toml").write_text(f"{private_server.MARK}\n{text}")
    assert private_server.user_api_url(root) is None
    assert private_server.credentials(root) is None
    assert private_server.find_server(root, root / ".sluice") is None


@pytest.mark.parametrize(
    "line", ["export PREFECT_API_URL=http://dotenv/api", 'PREFECT_API_URL = "http://dotenv/api"  # mine']
)
def test_an_env_file_is_read_as_everywhere_else(root: Path, line: str) -> None:
    (root / ".env").write_text(f"{line}\n")
    assert private_server.user_api_url(root) == "http://dotenv/api"


def test_a_database_that_can_not_be_read_is_named_before_anything_is_started(root: Path) -> None:
    database = root / ".sluice" / "prefect" / "prefect.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(PlatformError, match=r"\.sluice/prefect/prefect\.db can't be read: .* Move it away"):
        private_server.ensure_server(root, root / ".sluice")
    assert not (root / "prefect.toml").exists()
    assert not (database.parent / "prefect-server.json").exists()


def test_a_server_without_its_generated_file_is_of_no_use(root: Path) -> None:
    home = root / ".sluice" / "prefect"
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    processes.start(
        private_server.NAME,
        sleeper,
        records=home,
        log=root / "log",
        cwd=root,
        environment=processes.clean_environment(),
    )
    try:
        assert private_server.private_server_runs(root / ".sluice")
        assert private_server.find_server(root, root / ".sluice") is None
        assert private_server.credentials(root) is None
    finally:
        assert private_server.stop_server(root, root / ".sluice")
    assert not private_server.private_server_runs(root / ".sluice")


def test_only_the_last_line_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert private_server.last_line(log) == "it printed nothing"
    log.write_text("Traceback\n  File x\nOSError: no room.\n\n")
    assert private_server.last_line(log) == "OSError: no room"


def test_prefects_variables_of_the_user_are_for_the_users_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "canary")
    own, theirs = (private_server.Server("http://127.0.0.1/api", own=own) for own in (True, False))
    assert "PREFECT_API_KEY" not in services._environment(own)
    assert services._environment(theirs)["PREFECT_API_KEY"] == "canary"
