"""`sluice config`: what is in force and why, and all that is wrong at once."""

from __future__ import annotations

from small_project import write


def test_every_value_has_a_source(sluice, project) -> None:
    project.root.joinpath("config/dev.yaml").write_text("rollout: {keep: 0}\n")
    settings = sluice("config", "show", "-e", "dev", "--json").data["settings"]
    assert settings["rollout.keep"] == {"value": 0, "source": "config/dev.yaml"}
    assert settings["rollout.step_seconds"] == {"value": 0.2, "source": "config/base.yaml"}
    assert settings["endpoint.port"] == {"value": 0, "source": "default"}


def test_one_key_or_a_group(sluice, project) -> None:
    assert set(sluice("config", "show", "rollout.keep", "--json").data["settings"]) == {"rollout.keep"}
    assert all(name.startswith("rollout.") for name in sluice("config", "show", "rollout", "--json").data["settings"])
    assert "rollout.steps" in sluice("config", "show", "rollout").out


def test_an_unknown_key_names_the_nearest(sluice, project) -> None:
    answer = sluice("config", "show", "rolout.steps")
    assert answer.code == 64
    assert "Did you mean 'rollout.steps'?" in answer.err


def test_a_key_is_shown_as_a_reference_only(sluice, project) -> None:
    write(project.root / ".env", "AOAI_API_KEY=sk-very-secret\n")
    entry = "connections: {aoai: {kind: openai, api_key: {env: AOAI_API_KEY}}}\n"
    project.root.joinpath("config/local.yaml").write_text(entry)
    shown = sluice("config", "show", "connections")
    assert "AOAI_API_KEY" in shown.out
    assert "sk-very-secret" not in shown.out + shown.err


def test_a_clean_project_checks_clean(sluice, project) -> None:
    answer = sluice("config", "check", "--json")
    assert answer.code == 0
    assert answer.data == {"problems": []}


def test_all_that_is_wrong_is_listed_at_once(sluice, project) -> None:
    write(project.root / "config/dev.yaml", "rollout: {kep: 1, steps: [10, 5]}\nevaluation: {in_flight: many}\n")
    write(project.root / "config/qa.yaml", "gate: {rules: [{metric: accuracy, above: 60}]}\n")
    spec = project.flow / "sluice.yaml"
    spec.write_text(spec.read_text().replace("above: 0.60", "abov: 0.60").replace("key: id", "keyy: id"))
    answer = sluice("config", "check", "--json")
    assert answer.code == 64
    found = {(each["file"], each["key"]) for each in answer.data["problems"]}
    assert found >= {
        ("config/dev.yaml", "rollout.kep"),
        ("config/dev.yaml", "rollout.steps"),
        ("config/dev.yaml", "evaluation.in_flight"),
        ("config/qa.yaml", "gate.rules.0.above"),
        ("flows/tiny/sluice.yaml", "keyy"),
        ("flows/tiny/sluice.yaml", "gate.rules.0.abov"),
    }
    assert all(each["line"] for each in answer.data["problems"])


def test_a_problem_of_base_is_said_once(sluice, project) -> None:
    base = project.root / "config/base.yaml"
    base.write_text(base.read_text().replace("default_prompt_flow: tiny", "default_prompt_flow: tinny"))
    problems = sluice("config", "check", "--json").data["problems"]
    assert [(each["file"], each["line"], each["cure"]) for each in problems] == [
        ("config/base.yaml", 1, "Did you mean 'tiny'?")
    ]


def test_a_file_that_is_no_yaml(sluice, project) -> None:
    write(project.root / "config/dev.yaml", "rollout: [\n")
    answer = sluice("config", "check")
    assert answer.code == 64
    assert "config/dev.yaml:" in answer.out
