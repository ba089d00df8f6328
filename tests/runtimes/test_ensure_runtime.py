"""Runtimes built for real by uv, of the smallest kind: a plain callable's needs no package but the runner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from orchestration.errors import ConfigurationError, PlatformTimeout, PlatformUnavailable, ProvisioningFailed
from orchestration.locks import frameworks
from orchestration.polling import Clock
from orchestration.runtimes import ensure_runtime, lock_for, remove_old_runtimes, runtime_key
from orchestration.uv import find_uv, is_unreachable, reason

REPOSITORY = Path(__file__).parents[2]
IDNA = (
    "idna==3.10 \\\n"
    "    --hash=sha256:12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9 \\\n"
    "    --hash=sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3\n"
)
WRONG = "idna==3.10 --hash=sha256:" + "0" * 64 + "\n"
real = pytest.mark.real


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a runner of its own, which a test may change."""
    shutil.copytree(REPOSITORY / "runtime", tmp_path / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "promptflow.txt").write_text(IDNA)
    return tmp_path


@pytest.fixture
def build(project):
    folder = project / ".sluice" / "runtimes"
    return lambda lock="", **more: ensure_runtime(lock, folder=folder, root=project, **more)


@pytest.fixture
def cut_off(monkeypatch, tmp_path):
    """From then on everything beyond this machine refuses connections, with uv's cache as it is or an empty one."""

    def cut(*, cold: bool = False) -> None:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        if cold:
            monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cold"))

    return cut


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def clock_without_waiting() -> Clock:
    times = iter(range(10**6))
    return Clock(now=lambda: float(next(times)), sleep=lambda _: None)


@real
def test_a_runtime_has_the_runner_compiled_and_nothing_of_the_orchestrator(build):
    said: list[str] = []
    python = build(progress=said.append)
    assert len(said) == 1
    runner = Path(run(python, "import sluice_runner; print(sluice_runner.__file__)"))
    assert runner.is_relative_to(python.parent.parent)
    assert list((runner.parent / "__pycache__").glob("__init__.*.pyc"))
    assert (
        "ModuleNotFoundError" in subprocess.run([python, "-c", "import prefect"], capture_output=True, text=True).stderr
    )
    assert build(progress=said.append) == python
    assert len(said) == 1


@real
def test_requirements_are_installed_with_their_hashes_checked(build):
    assert run(build(IDNA), "import idna; print(idna.__version__)") == "3.10"
    with pytest.raises(ProvisioningFailed, match="the runtime can't be built") as error:
        build(WRONG)
    assert "hash" in error.value.logs.lower()
    assert "\n" not in str(error.value)


@real
def test_a_warm_cache_needs_no_network(build, cut_off):
    home = build(IDNA).parent.parent
    shutil.rmtree(home)
    cut_off()
    assert run(build(IDNA), "import idna; print(idna.__version__)") == "3.10"


@real
def test_no_network_and_a_cold_cache_is_unavailable(build, cut_off):
    cut_off(cold=True)
    with pytest.raises(PlatformUnavailable, match="Check the network"):
        build(IDNA)


@real
def test_a_half_built_runtime_is_built_anew(build):
    python = build()
    home = python.parent.parent
    (home / "ready").unlink()
    (home / "left over").write_text("")
    assert build() == python
    assert not (home / "left over").exists()


@real
def test_changed_sources_of_the_runner_make_another_runtime_with_them(build, project):
    first = build()
    (project / "runtime" / "sluice_runner" / "usage.py").write_text("CHANGED = True\n")
    second = build()
    assert first != second
    assert run(second, "from sluice_runner import usage; print(usage.CHANGED)") == "True"


@real
def test_many_builders_build_once(build):
    said: list[str] = []
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(build(progress=said.append))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(said), len(set(found)), len(found)) == (1, 1, 4)


@real
def test_old_runtimes_are_removed_by_last_use(build, project):
    python = build()
    home, folder = python.parent.parent, python.parent.parent.parent
    half = folder / "half-built"
    half.mkdir()
    (half / "pyvenv.cfg").write_text("")
    assert remove_old_runtimes(folder, 30) == 1
    assert not half.exists()
    os.utime(home / "ready", (0, 0))
    assert remove_old_runtimes(folder, 30, keep=[python]) == 0
    build()  # is a use
    assert remove_old_runtimes(folder, 30) == 0
    os.utime(home / "ready", (0, 0))
    with FileLock(folder / f"{home.name}.lock"):
        assert remove_old_runtimes(folder, 30) == 0  # somebody is building it
    assert remove_old_runtimes(folder, 30) == 1
    assert not home.exists()


def test_waiting_for_another_builder_ends(build, project):
    folder = project / ".sluice" / "runtimes"
    folder.mkdir(parents=True)
    with (
        FileLock(folder / f"{runtime_key('', project)}.lock"),
        pytest.raises(PlatformTimeout, match="which another run is building"),
    ):
        build(clock=clock_without_waiting())


def test_uv_sees_no_secrets(monkeypatch, tmp_path):
    from orchestration.uv import _environment

    monkeypatch.setenv("AOAI_API_KEY", "canary")
    monkeypatch.setenv("UV_INDEX_URL", "https://index.example/simple")
    environment = _environment(tmp_path)
    assert "AOAI_API_KEY" not in environment
    assert environment["UV_INDEX_URL"] == "https://index.example/simple"
    assert environment["UV_SYSTEM_CERTS"] == "1"


def test_without_a_home_the_cache_is_in_the_state_folder(monkeypatch, tmp_path):
    from orchestration.uv import _environment

    for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert _environment(tmp_path / "state")["UV_CACHE_DIR"] == str(tmp_path / "state" / "uv-cache")


def test_uv_is_the_one_beside_the_interpreter():
    assert find_uv() == Path(sys.executable).parent / "uv"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("error: No solution found\n  cause: Because a.\n\nhint: b", "Because a."),
        ("error: Distribution not found", "Distribution not found"),
        ("warning: x", "warning: x"),
        ("", "uv said nothing"),
    ],
)
def test_the_reason_is_one_line(said, why):
    assert reason(said) == why


def test_an_index_that_does_not_answer_is_told_from_a_wrong_requirement():
    assert is_unreachable("cause: error sending request for url (https://index.example/simple/idna/)")
    assert not is_unreachable("cause: Because idna was not found in the package registry")


def flow(project: Path, marker: str, requirements: str | None = None) -> Path:
    folder = project / "flows" / "x"
    folder.mkdir(parents=True)
    (folder / marker).write_text("")
    if requirements is not None:
        (folder / "requirements.txt").write_text(requirements)
    return folder


@pytest.mark.parametrize(("marker", "lock"), [("callable.toml", ""), ("flow.dag.yaml", IDNA), ("x.prompty", IDNA)])
def test_the_lock_without_own_requirements_is_the_framework_s(project, marker, lock):
    assert lock_for(project, flow(project, marker), state=project / ".sluice") == lock
    assert not (project / ".sluice").exists()


@real
def test_own_requirements_are_resolved_with_the_framework_s_lock_and_kept(project, cut_off):
    folder = flow(project, "flow.dag.yaml", "six>=1.16\n")
    state = project / ".sluice"
    lock = lock_for(project, folder, state=state)
    assert "idna==3.10" in lock
    assert "six==" in lock
    assert "http" not in lock
    assert str(project) not in lock
    cut_off(cold=True)
    assert lock_for(project, folder, state=state) == lock
    assert len(list((state / "locks").iterdir())) == 1


@real
def test_requirements_against_the_framework_s_lock(project):
    folder = flow(project, "flow.dag.yaml", "idna==3.9\n")
    with pytest.raises(ConfigurationError, match=r"^flows/x/requirements\.txt:1:idna: can't be resolved: Because you"):
        lock_for(project, folder, state=project / ".sluice")
    assert not (project / ".sluice").exists()


def test_frameworks_are_data():
    assert {framework.name for framework in frameworks(REPOSITORY)} == {"promptflow", "callable"}
