"""The lock of an endpoint, between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration.errors import ConfigurationError, EndpointHeld
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.hold import held
from orchestration.platforms.local.platform import LocalPlatform

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from pathlib import Path
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.hold import held
with held(EndpointFolder.of(Path(sys.argv[1]), "shout-local"), "run first"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_holder(state: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_second_holder_is_refused_with_the_first_ones_name(tmp_path: Path) -> None:
    folder = EndpointFolder.of(tmp_path, "shout-local")
    with (
        other_holder(tmp_path) as process,
        pytest.raises(EndpointHeld, match=rf"run first \(pid {process.pid}, since"),
        held(folder, "run second"),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_hold_ends_with_its_holder(tmp_path: Path, number: signal.Signals) -> None:
    folder = EndpointFolder.of(tmp_path, "shout-local")
    with other_holder(tmp_path) as process:
        process.send_signal(number)
        process.wait()
        with held(folder, "run second"):
            pass


def test_a_holder_that_sleeps_keeps_it(tmp_path: Path) -> None:
    folder = EndpointFolder.of(tmp_path, "shout-local")
    with other_holder(tmp_path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(EndpointHeld), held(folder, "run second"):
                pass
        finally:
            os.kill(process.pid, signal.SIGCONT)


def test_it_is_free_again_after_its_block_and_after_an_error_in_it(tmp_path: Path) -> None:
    folder = EndpointFolder.of(tmp_path, "shout-local")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="oops"), held(folder, "run"):
            raise RuntimeError("oops")
    with held(folder, "run"):
        pass


def test_within_one_process_it_excludes_as_well(tmp_path: Path) -> None:
    platform = LocalPlatform(tmp_path, upstreams=lambda _: {})
    with platform.hold("shout-local", owner="first"), pytest.raises(EndpointHeld, match="first"):
        platform.hold("shout-local", owner="second").__enter__()
    with platform.hold("shout-local", owner="third"), platform.hold("other-local", owner="third"):
        pass


def test_names_are_checked(tmp_path: Path) -> None:
    platform = LocalPlatform(tmp_path, upstreams=lambda _: {})
    with pytest.raises(ConfigurationError):
        platform.hold("../elsewhere", owner="run")
