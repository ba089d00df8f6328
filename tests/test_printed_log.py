from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.printed_log import LONGEST_LINE, PrintedLog, last_lines
from orchestration.redaction import Redactor

SECRET = "s3cret-value-0123456789"


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob("server.log*"), reverse=True))


@settings(max_examples=50, deadline=None)
@given(data=st.data(), before=st.integers(0, 3 * LONGEST_LINE), newline=st.booleans())
def test_a_secret_is_never_written_however_the_output_is_cut(
    data: st.DataObject, before: int, newline: bool, tmp_path_factory
) -> None:
    path = tmp_path_factory.mktemp("log") / "server.log"
    text = b"x" * before + SECRET.encode() + b"y" * 100 + (b"\n" if newline else b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    log = PrintedLog(path, limit_bytes=2**22, redactor=Redactor([SECRET]))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        log.feed(text[start:end])
    log.flush()
    written = everything(path)
    assert SECRET.encode() not in written
    assert written.count(b"[redacted]") == 1
    assert written.count(b"x") == before
    assert written.count(b"y") == 100


def test_short_values_are_no_secrets(tmp_path: Path) -> None:
    log = PrintedLog(tmp_path / "server.log", limit_bytes=1000, redactor=Redactor(["", "1", "true"]))
    log.feed(b"1 is true\n")
    assert last_lines(tmp_path / "server.log", 5) == "1 is true"


def test_it_never_grows_beyond_two_files_of_its_limit(tmp_path: Path) -> None:
    log = PrintedLog(tmp_path / "server.log", limit_bytes=1000, redactor=Redactor([]))
    for number in range(500):
        log.feed(f"line {number}\n".encode())
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 2000
    assert last_lines(tmp_path / "server.log", 2) == "line 498\nline 499"
    assert len(last_lines(tmp_path / "server.log", 110).splitlines()) == 110  # reaches into the older file


def test_it_goes_on_where_an_earlier_gateway_stopped(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        PrintedLog(tmp_path / "server.log", limit_bytes=1000, redactor=Redactor([])).feed(text)
    assert last_lines(tmp_path / "server.log", 50) == "first\nsecond"


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    PrintedLog(tmp_path / "server.log", limit_bytes=1000, redactor=Redactor([])).feed(b"line\n")
    assert (tmp_path / "server.log").stat().st_mode & 0o077 == 0
