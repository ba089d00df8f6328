"""A failure says what failed, where in the user's own files, and in the user code's own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_project import REPOSITORY, Project, make_project, write

from orchestration.cli.main import main
from orchestration.errors import ConfigurationError
from orchestration.evaluation.job import EvaluationJob, Subject
from orchestration.steps.evaluate import with_variant
from orchestration.steps.failures import LONGEST, one_line, printable

RAISING = """
def answer(question: str, behave: str = "") -> dict:
    number = int(question.removeprefix("word"))
    if number < 5:
        raise ValueError(f"no answer to {question}" if number else "\\x1b[31mred\\n" + "long " * 100)
    return {"answer": question.upper()}
"""

Said = tuple[int, str, str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A fresh project as the current folder, without anything of the user's environment."""
    made = make_project(tmp_path / "project")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("HOME", str(made.root / "home"))
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME", "AOAI_API_KEY", "AOAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`say("evaluate", "tiny")`: exit code, standard output, standard error."""

    def call(*arguments: str) -> Said:
        capfd.readouterr()
        code = main(list(arguments))
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def ask(say: Callable[..., Said]) -> Callable[..., tuple[int, dict]]:
    """`ask("evaluate", "tiny")`: exit code, and the object that --json prints."""

    def call(*arguments: str) -> tuple[int, dict]:
        code, out, _ = say(*arguments, "--json")
        return code, json.loads(out)

    return call


def test_a_broken_verdict_comes_with_the_messages_of_the_first_rows(project, say, ask) -> None:
    write(project.flow / "tiny.py", RAISING)
    code, data = ask("evaluate", "tiny")
    assert code == 4
    first, second, third = data["reasons"][-3:]
    assert first.startswith("row r0: Raised: ValueError: [31mred long long")
    assert first.endswith("… (flows/tiny/tiny.py:4)")
    assert second == "row r1: Raised: ValueError: no answer to word1 (flows/tiny/tiny.py:4)"
    assert third.startswith("row r2: ")
    _, out, _ = say("evaluate", "tiny")
    assert all(reason in out for reason in data["reasons"])
    assert "\x1b" not in out
    _, out, _ = say("evaluate", "tiny", "--no-grade")
    assert second in out


def test_the_same_message_is_said_once(project, ask) -> None:
    write(project.flow / "tiny.py", "def answer(question: str) -> dict:\n    raise OSError('down')\n")
    _, data = ask("evaluate", "tiny")
    assert [reason for reason in data["reasons"] if "down" in reason] == [
        "row r0: Raised: OSError: down (flows/tiny/tiny.py:2)"
    ]


def test_a_row_that_could_not_be_graded_and_an_aggregation_are_named(project, ask) -> None:
    grading = project.root / "flows/tiny_evaluation/grading.py"
    write(
        grading,
        "def grade(answer, truth):\n    raise KeyError(truth)\n\ndef aggregate(inputs, outputs):\n    return {}\n",
    )
    _, data = ask("evaluate", "tiny")
    assert data["reasons"][-1] == ("grading row r2: Raised: KeyError: 'WORD2' (flows/tiny_evaluation/grading.py:2)")
    write(grading, "def grade(answer, truth):\n    return {'right': 1}\n\ndef aggregate(inputs, outputs):\n    1 / 0\n")
    _, data = ask("evaluate", "tiny")
    assert data["reasons"][0] == (
        "The evaluation stopped early: the evaluator's aggregation failed: Raised at grading.py:5."
    )
    assert data["reasons"][-1] == (
        "the aggregation: Raised: ZeroDivisionError: division by zero (flows/tiny_evaluation/grading.py:5)"
    )


def test_a_pass_says_nothing_of_rows_that_may_fail(project, ask) -> None:
    spec = project.flow / "sluice.yaml"
    spec.write_text(spec.read_text().replace("min_rows: 4", "min_rows: 4\n  max_failed_ratio: 0.5"))
    write(project.flow / "tiny.py", RAISING.replace("number < 5", "number < 2"))
    code, data = ask("evaluate", "tiny")
    assert (code, data["verdict"]) == (0, "PASS")
    assert not any("ValueError" in reason for reason in data["reasons"])


@pytest.mark.parametrize("command", ["evaluate", "test"])
def test_a_flow_that_does_not_load_is_named_by_its_own_file(project, ask, command) -> None:
    write(project.flow / "tiny.py", "import helper\n\ndef answer(question):\n    return ''\n")
    write(project.flow / "helper.py", "x = 1 +\n")
    code, data = ask(command, "tiny")
    assert code == 64
    assert data["error"]["message"] == "flows/tiny/helper.py:1: the flow can't be opened: invalid syntax."
    write(project.flow / "helper.py", "raise OSError(__file__)\n")
    _, data = ask(command, "tiny")
    assert data["error"]["message"] == (
        "flows/tiny/helper.py:1: the flow can't be opened: OSError: flows/tiny/helper.py."
    )


def test_an_evaluation_flow_that_does_not_load_is_not_taken_for_the_prompt_flow(project, ask) -> None:
    write(project.root / "flows/tiny_evaluation/callable.toml", 'entry = "grading:grade"\noutput = ["right"]\n')
    code, data = ask("evaluate", "tiny")
    assert code == 64
    assert data["error"]["message"].startswith(
        "flows/tiny_evaluation/callable.toml: the flow can't be opened: unknown key"
    )


def test_a_prompt_flow_that_changes_what_it_is_judged_by_gets_no_verdict(project, ask) -> None:
    cheat = """
        from pathlib import Path
        def answer(question: str) -> dict:
            grading = Path("../evaluator/grading.py")
            grading.chmod(0o644)
            grading.write_text("def grade(answer, truth):\\n    return {'right': 1.0}\\n")
            return {"answer": ""}
    """
    write(project.flow / "tiny.py", cheat)
    for _ in range(2):  # what it stored is not taken for an answer either
        code, data = ask("evaluate", "tiny")
        assert code == 1
        assert data["error"]["message"] == "The snapshot was changed meanwhile: evaluator/grading.py."
    write(project.flow / "tiny.py", "def answer(question):\n    return {'answer': question.upper()}\n")
    assert ask("evaluate", "tiny")[0] == 0


def test_data_that_is_not_there_is_named_as_it_was_given(project, ask) -> None:
    code, data = ask("evaluate", "tiny", "--data", "/nope/rows.jsonl")
    assert code == 64
    assert data["error"]["message"] == "/nope/rows.jsonl: the data can't be read: No such file or directory."
    (project.root / "rows.jsonl").write_text('{"id": "r1", "question": "word1"\n')
    code, data = ask("evaluate", "tiny", "--data", "rows.jsonl")
    assert code == 64
    assert data["error"]["message"].startswith("rows.jsonl:1: broken JSON")


@pytest.mark.parametrize("command", ["evaluate", "test"])
def test_a_variant_of_a_flow_without_variants_is_refused(project, ask, command) -> None:
    code, data = ask(command, "tiny", "--variant", "${classify.short}")
    assert code == 64
    assert data["error"]["message"] == "--variant: there is no variant ${classify.short}."
    assert data["error"]["cure"] == "The prompt flow has none: leave --variant out."


def test_an_unknown_variant_is_refused_with_those_that_there_are(tmp_path) -> None:
    folder = REPOSITORY / "flows" / "web_classification"
    job = EvaluationJob(Subject(folder, tmp_path, "content"), data=tmp_path, state=tmp_path, logs=tmp_path)
    known = ["${classify.variant_0}", "${classify.variant_1}"]
    for name in known:
        assert with_variant(job, name).flow.variant == name
    for wrong in ("${classify.variant_9}", "variant_1", ""):
        with pytest.raises(ConfigurationError) as error:
            with_variant(job, wrong)
        assert error.value.message == f"--variant: there is no variant {wrong}."
        assert all(name in error.value.cure for name in known)
    assert with_variant(job, None) is job


def test_text_of_user_code_is_shown_as_one_short_line_without_control_characters() -> None:
    assert one_line("a\r\nb\tc\x00\x9bd\u00a0é\U0001f600") == "a b c d é\U0001f600"
    assert len(one_line("x" * 10_000)) == LONGEST
    assert printable("a\n\tb\x1b[2J") == "a\n\tb [2J"
