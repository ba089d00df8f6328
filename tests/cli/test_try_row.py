"""`sluice test`: one row, each node."""

from __future__ import annotations

from small_project import write


def test_the_sample_request_by_default(sluice, project) -> None:
    answer = sluice("test", "--json")
    assert answer.code == 0
    data = answer.data
    assert data["row"] == "the sample request"
    assert data["output"] == {"answer": "HELLO"}
    assert [(node["name"], node["inputs"], node["output"]) for node in data["nodes"]] == [
        ("answer", {"question": "hello"}, {"answer": "HELLO"})
    ]


def test_given_inputs(sluice, project) -> None:
    answer = sluice("test", "tiny", "--inputs", '{"question": "why"}')
    assert answer.code == 0
    assert "COMPLETED  the given inputs of tiny" in answer.out
    assert '{"answer": "WHY"}' in answer.out


def test_a_row_of_the_data(sluice, project) -> None:
    data = sluice("test", "tiny", "--row", "r3", "--json").data
    assert data["inputs"] == {"question": "word3"}
    assert data["output"] == {"answer": "WORD3"}


def test_an_unknown_row_names_the_nearest(sluice, project) -> None:
    answer = sluice("test", "tiny", "--row", "r33", "--json")
    assert answer.code == 64
    assert "Did you mean 'r3'?" in answer.data["error"]["cure"]


def test_a_row_that_raises_is_4_with_the_place(sluice, project) -> None:
    answer = sluice("test", "tiny", "--inputs", '{"question": "why", "behave": "raise"}', "--json")
    assert answer.code == 4
    assert answer.data["error"]["code"] == "Raised"
    assert "no answer to why (flows/tiny/tiny.py:" in answer.data["problem"]
    assert answer.data["nodes"][0]["error"]


def test_a_sample_answer_of_another_shape_is_4(sluice, project) -> None:
    spec = project.flow / "sluice.yaml"
    write(spec, spec.read_text().replace("const: HELLO", "const: BYE"))
    answer = sluice("test", "tiny")
    assert answer.code == 4
    assert "'BYE' was expected" in answer.out


def test_inputs_that_are_no_object(sluice, project) -> None:
    for given in ("{", "[1]"):
        answer = sluice("test", "tiny", "--inputs", given)
        assert answer.code == 64
        assert "--inputs" in answer.err


def test_inputs_and_row_exclude_each_other(sluice, project) -> None:
    assert sluice("test", "tiny", "--inputs", "{}", "--row", "r1").code == 64


def test_a_flow_that_does_not_load_is_one_line(sluice, project) -> None:
    write(project.flow / "tiny.py", "import nowhere\n")
    answer = sluice("test", "tiny", "--json")
    assert answer.code == 64
    assert "nowhere" in answer.data["error"]["message"]
    assert "Traceback" not in answer.err


def test_one_prompt_flow_at_a_time(sluice, project) -> None:
    answer = sluice("test", "all")
    assert answer.code == 64
    assert "tiny" in answer.err
