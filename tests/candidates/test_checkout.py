"""What git says of a candidate: its commit, and whether everything that was read is in it."""

from __future__ import annotations

import subprocess

import pytest

from orchestration.candidates import checkout, read_manifest, take_candidate
from orchestration.errors import ConfigurationError


def test_without_git_the_commit_is_unknown(take):
    candidate = take()
    assert (candidate.commit, candidate.dirty) == ("unknown", True)


def test_a_file_moved_out_of_the_prompt_flow_makes_it_dirty(project, take, git):
    (project / "flows/demo/notes.md").write_text("notes\n")
    git("add", "-A")
    git("commit", "-qm", "notes")
    assert not take().dirty
    git("mv", "flows/demo/notes.md", "notes.md")
    assert take().dirty


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_not_to_look_at_is_not_known_to_be_clean(project, take, git, flag):
    git("update-index", flag, "flows/demo/data.jsonl")
    path = project / "flows/demo/data.jsonl"
    path.write_bytes(path.read_bytes() + b"\n")
    assert git("status", "--porcelain") == ""
    assert take().dirty


def test_only_what_matters_makes_a_checkout_dirty(project, take, git):
    head = git("rev-parse", "HEAD")
    for name in ("README.md", "flows/other/note.txt", "flows/demo/__pycache__/x", "flows/demo/.hidden"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x")
    assert (take().commit, take().dirty) == (head, False)
    for name in ("deployments/demo/x", "flows/demo/evaluator/x", "flows/demo/new.py", "flows/demo/data.jsonl"):
        path = project / name
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + b"\n")
        assert take().dirty, name
        path.unlink() if before is None else path.write_bytes(before)
    assert not take().dirty


def test_what_git_ignores_is_not_taken(project, take, git):
    (project / "flows/demo/note.secret").write_text("canary")
    assert not take().dirty
    assert "flow/note.secret" not in read_manifest(take().folder).files


def test_what_git_ignores_is_not_taken_behind_a_link_either(project, take, git):
    link(project, git, "flows/demo/words", "../shared", **{"flows/shared/words.py": ""})
    (project / "flows/shared/note.secret").write_text("canary")
    assert not take().dirty
    assert [name for name in read_manifest(take().folder).files if "words" in name] == ["flow/words/words.py"]


def link(project, git, name, target, **files):
    """Commit a link, and files with the content a, b, ..."""
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / name).unlink(missing_ok=True)
    (project / name).symlink_to(target)
    git("add", "-A")
    git("commit", "--quiet", "-m", "link")


SHARED = {"flows/shared/words.py": "", "flows/shared/gone.py": ""}


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        (lambda shared: (shared / "words.py").write_text("changed = 1\n"), True),
        (lambda shared: (shared / "new.py").write_text(""), True),
        (lambda shared: (shared / "gone.py").unlink(), True),
        (lambda shared: (shared.parent / "other/note.txt").write_text(""), False),
    ],
)
def test_what_a_committed_link_leads_to_must_be_committed_too(project, take, git, change, dirty):
    link(project, git, "flows/demo/words", "../shared", **SHARED)
    assert not take().dirty
    change(project / "flows/shared")
    assert take().dirty is dirty


def test_every_link_on_the_way_must_be_committed(project, take, git):
    link(project, git, "flows/current", "shared", **SHARED, **{"flows/newer/words.py": "newer = 1\n"})
    link(project, git, "flows/demo/words.py", "../current/words.py")
    assert not take().dirty
    (project / "flows/current").unlink()
    (project / "flows/current").symlink_to("newer")
    assert take().dirty


def test_a_prompt_flow_that_is_a_link_within_flows(project, take, git):
    (project / "flows/demo").rename(project / "flows/real")
    link(project, git, "flows/demo", "real")
    assert not take().dirty
    (project / "flows/real/main.py").write_text("changed = 1\n")
    assert take().dirty


@pytest.mark.parametrize("folder", ["flows/.shared", "data/.private"])
def test_a_hidden_folder_that_is_read_is_judged(project, take, git, folder):
    run = project / "flows/demo/run.yml"
    run.write_text(run.read_text().replace("data.jsonl", f"../../{folder}/rows.jsonl"))
    rows = (project / "flows/demo/data.jsonl").read_text()
    link(project, git, "flows/demo/words", "../shared", **SHARED, **{f"{folder}/rows.jsonl": rows})
    assert not take().dirty
    (project / folder / "rows.jsonl").write_text(rows + "\n")
    assert take().dirty


def test_data_that_git_ignores_is_not_committed(project, take, git):
    git("rm", "--quiet", "--cached", "flows/demo/data.jsonl")
    (project / ".gitignore").write_text(".sluice/\n*.jsonl\n")
    git("add", "-A")
    git("commit", "--quiet", "-m", "ignored")
    assert take().dirty


def test_the_framework_s_lock_must_be_committed_where_it_is_used(project, take, git):
    lock = project / "requirements/promptflow.txt"
    lock.write_text(lock.read_text() + "# changed\n")
    assert not take().dirty  # a callable has none
    (project / "flows/demo/callable.toml").unlink()
    (project / "flows/demo/flow.dag.yaml").write_text("nodes: []\n")
    git("add", "flows")
    git("commit", "--quiet", "-m", "dag")
    assert take().dirty


def test_a_repository_in_the_folder_is_not_committed(project, take, git):
    inner = project / "flows/shared"
    inner.mkdir()
    (inner / "words.py").write_text("")
    subprocess.run(["git", "init", "--quiet", "."], cwd=inner, check=True)
    (project / "flows/demo/words").symlink_to("../shared")
    git("add", "flows/demo/words")
    git("commit", "--quiet", "-m", "link")
    assert take().dirty


def test_a_commit_is_taken_as_it_was(project, take, git):
    first, head = take(), git("rev-parse", "HEAD")
    (project / "flows/demo/main.py").write_text("changed = 1\n")
    (project / "flows/demo/staged.py").write_text("")
    git("add", "flows/demo/staged.py")
    status = git("status", "--porcelain")
    taken = take(commit=head[:10])
    assert (taken.id, taken.commit, taken.dirty) == (first.id, head, False)
    assert git("status", "--porcelain") == status
    assert take().id != first.id


def test_a_commit_of_a_project_in_a_folder_of_its_repository(tmp_path, project):
    def git(*argv):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *who, *argv], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    git("add", "project")
    git("commit", "--quiet", "-m", "x")
    now = take_candidate(project, project / ".sluice", "demo")
    then = take_candidate(project, project / ".sluice", "demo", commit=git("rev-parse", "HEAD").strip())
    assert (then, now.dirty) == (now, False)


@pytest.mark.parametrize("commit", ["--upload-pack=x", "HEAD", "a" * 40, "deadbeef", "$(id)", ""])
def test_what_is_no_commit_here_is_refused(project, take, git, commit):
    with pytest.raises(ConfigurationError, match=r"Name a commit of this repository"):
        take(commit=commit)
    assert not (project / ".sluice").exists()


def test_a_hook_s_variables_do_not_lead_git_astray(project, git, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert checkout(project).commit != "unknown"
