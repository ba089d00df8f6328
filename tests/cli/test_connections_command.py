"""`sluice connections`: keys are referred to, never shown; what people wrote stays."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from small_project import SLUICE, write

KEY = "sk-very-secret"
BASE = "https://ours.openai.azure.com"
AZURE = ("--api-base", BASE, "--model", "gpt-4o-mini")


@pytest.fixture
def typed(monkeypatch):
    """What comes on standard input, which is no terminal."""

    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    give("")
    return give


@pytest.fixture
def repository(project):
    subprocess.run(["git", "init", "--quiet", "."], cwd=project.root, check=True)
    write(project.root / ".gitignore", ".env\n.sluice/\n")
    return project


@pytest.fixture
def provider():
    """A server that speaks OpenAI's API; it keeps what it was asked."""
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            status, answer = self.server.answer(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            text = json.dumps(answer).encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = asked
    server.answer = lambda body: (
        200,
        {"model": body["model"], "choices": [{"message": {"content": "hi"}}], "usage": {"total_tokens": 9}},
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def configure(project, server, **more) -> None:
    entry = {"kind": "openai", "api_base": f"http://127.0.0.1:{server.server_port}/v1", **more}
    project.root.joinpath("config/local.yaml").write_text(json.dumps({"connections": {"aoai": entry}}))


def test_files_that_are_links_stay_links(sluice, repository, typed) -> None:
    kept = repository.root / "home"
    (kept / "keys").write_text("OTHER=1\n")
    (repository.root / ".env").symlink_to(kept / "keys")
    settings = repository.root / "config" / "local.yaml"
    settings.rename(kept / "local.yaml")
    settings.symlink_to(kept / "local.yaml")
    typed(f"{KEY}\n")
    assert sluice("connections", "create", "aoai", *AZURE, "--key-stdin", "--yes").code == 0
    assert (repository.root / ".env").is_symlink()
    assert settings.is_symlink()
    assert KEY in (kept / "keys").read_text()
    assert (kept / "keys").stat().st_mode & 0o777 == 0o600
    assert "aoai" in (kept / "local.yaml").read_text()


def test_list_says_where_a_key_comes_from_and_whether_it_is_found(sluice, project) -> None:
    entries = {
        "free": {"kind": "offline"},
        "paid": {"kind": "openai", "api_key": {"env": "PAID_KEY"}},
        "there": {"kind": "openai", "api_key": {"env": "THERE_KEY"}},
        "mine": {"kind": "custom", "secrets": {"password": {"file": "nowhere.txt"}}},
    }
    project.root.joinpath("config/local.yaml").write_text(json.dumps({"connections": entries}))
    write(project.root / ".env", f"THERE_KEY={KEY}\n")
    answer = sluice("connections", "list", "--json")
    found = {each["name"]: each for each in answer.data["connections"]}
    assert {name: each["resolves"] for name, each in found.items()} == {
        "free": True,
        "paid": False,
        "there": True,
        "mine": False,
    }
    assert found["paid"]["key"] == "env PAID_KEY"
    assert "PAID_KEY is not set" in found["paid"]["problem"]
    assert "nowhere.txt" in found["mine"]["problem"]
    assert KEY not in answer.out + sluice("connections", "list").out


def test_show_one(sluice, project) -> None:
    project.root.joinpath("config/local.yaml").write_text("connections: {aoai: {kind: offline}}\n")
    assert sluice("connections", "show", "aoai", "--json").data["kind"] == "offline"
    answer = sluice("connections", "show", "aoia")
    assert answer.code == 64
    assert "Did you mean 'aoai'?" in answer.err


def test_create_writes_the_reference_and_the_key_apart(sluice, repository, typed) -> None:
    settings = repository.root / "config/dev.yaml"
    settings.write_text("# ours\nallow_dirty: true  # for now\n")
    write(repository.root / ".env", "# mine\nOTHER=1\nAOAI_API_KEY=old\n")
    typed(f"{KEY}\n")
    answer = sluice("connections", "create", "aoai", "-e", "dev", *AZURE, "--key-stdin", "--yes", "--json")
    assert answer.code == 0
    assert answer.data["written"] is True
    assert KEY not in answer.out + answer.err
    assert settings.read_text() == (
        "# ours\nallow_dirty: true  # for now\n\nconnections:\n  aoai:\n    kind: azure_openai\n"
        "    api_base: {env: AOAI_API_BASE}\n    api_key: {env: AOAI_API_KEY}\n    model_deployment: gpt-4o-mini\n"
    )
    env = repository.root / ".env"
    assert env.read_text() == f"# mine\nOTHER=1\nAOAI_API_KEY={KEY}\nAOAI_API_BASE={BASE}\n"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert sluice("connections", "show", "aoai", "-e", "dev", "--json").data["resolves"] is True


def test_create_says_how_what_serves_takes_the_key_over(sluice, repository, typed) -> None:
    typed(f"{KEY}\n")
    said = sluice("connections", "create", "aoai", "-e", "dev", *AZURE, "--key-stdin", "--yes").out
    assert "sluice connections check aoai -e dev" in said
    assert "sluice endpoint start -e dev" in said


def test_an_entry_among_others_is_replaced_and_comments_stay(sluice, repository, typed) -> None:
    settings = repository.root / "config/dev.yaml"
    settings.write_text(
        "# top\nconnections:\n  # the big one\n  aoai:\n    kind: offline  # for now\n  other:  # keep me\n"
        "    kind: offline\n\nrollout:\n  steps: [10, 100]   # percent\n"
    )
    typed(f"{KEY}\n")
    assert sluice("connections", "create", "aoai", "-e", "dev", *AZURE, "--key-stdin", "--yes").code == 0
    text = settings.read_text()
    for kept in ("# top", "other:  # keep me", "steps: [10, 100]   # percent", "kind: azure_openai"):
        assert kept in text
    assert "for now" not in text


def test_another_model_needs_no_new_key(sluice, repository, typed) -> None:
    typed(f"{KEY}\n")
    sluice("connections", "create", "aoai", "-e", "dev", *AZURE, "--key-stdin", "--yes")
    before = (repository.root / ".env").read_text()
    typed("")
    answer = sluice("connections", "create", "aoai", "-e", "dev", "--model", "gpt-5", "--yes", "--json")
    assert answer.data["entry"]["model_deployment"] == "gpt-5"
    assert (repository.root / ".env").read_text() == before


def test_without_a_terminal_it_needs_yes_and_writes_nothing(sluice, repository, typed) -> None:
    typed(f"{KEY}\n")
    before = (repository.root / "config/dev.yaml").read_text()
    answer = sluice("connections", "create", "aoai", "-e", "dev", *AZURE, "--key-stdin", "--json")
    assert answer.code == 64
    assert answer.data["error"]["cure"] == "Add --yes."
    assert (repository.root / "config/dev.yaml").read_text() == before
    assert not (repository.root / ".env").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--api-base", "http://ours.openai.azure.com"), "https"),
        (("--api-base", "ours"), "not an address"),
        ((), "needs an address"),
        (("--kind", "azur"), "azur"),
    ],
)
def test_what_cannot_work_is_refused_before_the_key_is_read(sluice, repository, typed, options, said) -> None:
    answer = sluice("connections", "create", "aoai", "-e", "dev", *options, "--yes")
    assert answer.code == 64
    assert said in answer.err
    assert not (repository.root / ".env").exists()


def test_a_bad_name_is_refused(sluice, repository, typed) -> None:
    assert sluice("connections", "create", "../x", *AZURE, "--yes").code == 64


def test_without_a_key_it_is_refused(sluice, repository, typed) -> None:
    answer = sluice("connections", "create", "aoai", *AZURE, "--yes")
    assert answer.code == 64
    assert "--key-stdin" in answer.err
    typed("\n")
    assert sluice("connections", "create", "aoai", *AZURE, "--key-stdin", "--yes").code == 64


def test_the_placeholder_of_the_sample_is_no_key(sluice, repository, typed) -> None:
    write(repository.root / ".env.sample", "AOAI_API_KEY=your-key\n")
    write(repository.root / ".env", "AOAI_API_KEY=your-key\n")
    assert sluice("connections", "create", "aoai", *AZURE, "--yes").code == 64


def test_a_key_is_not_written_where_git_would_take_it(sluice, repository, typed) -> None:
    write(repository.root / ".gitignore", ".sluice/\n")
    typed(f"{KEY}\n")
    answer = sluice("connections", "create", "aoai", *AZURE, "--key-stdin", "--yes")
    assert answer.code == 64
    assert ".gitignore" in answer.err
    assert not (repository.root / ".env").exists()


def test_a_server_on_this_machine_needs_no_key(sluice, repository, typed) -> None:
    answer = sluice(
        *("connections", "create", "aoai", "--kind", "openai", "--api-base", "http://localhost:11434/v1"),
        *("--model", "llama3.2", "--yes", "--json"),
    )
    assert answer.data["entry"] == {
        "kind": "openai",
        "api_base": "http://localhost:11434/v1",
        "model_deployment": "llama3.2",
    }
    assert not (repository.root / ".env").exists()


@pytest.mark.parametrize("value", ["a#b", "a #b", "'quoted", '"', "tail ", "ünï"])
def test_a_value_reads_back_as_it_was(value, tmp_path) -> None:
    from orchestration.references import read_environment
    from orchestration.steps.env_file import write_env

    write_env(tmp_path, {"X_TEST_VALUE": value})
    assert read_environment(tmp_path)["X_TEST_VALUE"] == value


def test_check_the_embedded_model(sluice, project) -> None:
    project.root.joinpath("config/local.yaml").write_text("connections: {aoai: {kind: offline}}\n")
    checked = sluice("connections", "check", "aoai", "--json").data
    assert checked["name"] == "aoai"
    assert checked["tokens"] > 0


def test_check_sends_one_tiny_request_with_the_key(sluice, project, provider) -> None:
    write(project.root / ".env", f"AOAI_API_KEY={KEY}\n")
    configure(project, provider, api_key={"env": "AOAI_API_KEY"}, model_deployment="gpt-4o-mini")
    answer = sluice("connections", "check", "aoai", "--json")
    assert answer.data["model"] == "gpt-4o-mini"
    assert answer.data["tokens"] == 9
    assert [(each["path"], each["key"], each["max_tokens"]) for each in provider.asked] == [
        ("/v1/chat/completions", f"Bearer {KEY}", 1)
    ]
    assert KEY not in answer.out + answer.err


def test_check_speaks_to_models_that_want_the_other_name_of_the_limit(sluice, project, provider) -> None:
    good = provider.answer
    refusal = {"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model."}}
    provider.answer = lambda body: (400, refusal) if "max_tokens" in body else good(body)
    configure(project, provider, model_deployment="o9")
    assert sluice("connections", "check", "aoai").code == 0


@pytest.mark.parametrize(("status", "cure"), [(401, "key"), (404, "model deployment")])
def test_check_says_what_the_provider_says(sluice, project, provider, status, cure) -> None:
    provider.answer = lambda body: (status, {"error": {"message": "No, sorry."}})
    configure(project, provider, model_deployment="m")
    answer = sluice("connections", "check", "aoai", "--json")
    assert answer.code == 1
    assert f"answered {status}: No, sorry." in answer.data["error"]["message"]
    assert cure in answer.data["error"]["cure"]


def test_check_of_something_that_is_no_model(sluice, project, provider) -> None:
    provider.answer = lambda body: (200, ["hello"])
    configure(project, provider, model_deployment="m")
    answer = sluice("connections", "check", "aoai")
    assert answer.code == 1
    assert "no chat completion" in answer.err


def test_check_needs_a_model(sluice, project, provider) -> None:
    configure(project, provider)
    assert sluice("connections", "check", "aoai").code == 64
    assert sluice("connections", "check", "aoai", "--model", "m").code == 0


def test_a_key_in_a_block_needs_the_server_that_keeps_it(sluice, project, free_port) -> None:
    entry = {"kind": "openai", "api_key": {"block": "llm-connection/team"}}
    project.root.joinpath("config/local.yaml").write_text(json.dumps({"connections": {"aoai": entry}}))
    answer = sluice("connections", "show", "aoai", "--json")
    assert answer.code == 64
    said = "no Prefect server runs, which keeps the block llm-connection/team. Next: sluice up."
    assert said in answer.data["problem"]
    # Prefect reads its settings when it is imported, so in a process of its own.
    gone = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port}/api", "PREFECT_HOME": str(project.root / "home")}
    done = subprocess.run(
        [SLUICE, "connections", "show", "aoai", "--json"], env=project.environment() | gone,
        cwd=project.root, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 64, done.stderr
    assert "the Prefect server that keeps the block llm-connection/team does not answer" in done.stdout
