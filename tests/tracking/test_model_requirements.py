import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestration.tracking.model_folder import LOADER_LOCK, model_requirements

LOCKS = Path(__file__).parents[2] / "requirements"


def pins(text):
    """name -> the versions it is pinned to (one per marker)."""
    found = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def lock_of(names):
    return "".join(f"{name}==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via something\n" for name in names)


names = st.lists(st.from_regex(r"[a-z]([a-z0-9]{0,5}[a-z0-9])?", fullmatch=True), unique=True)


@given(names, names)
def test_the_lock_stays_and_only_what_it_lacks_is_added(own, needed):
    merged = model_requirements(lock_of(own), lock_of(needed))
    assert merged.startswith(lock_of(own))
    assert list(pins(merged)) == [*own, *(name for name in needed if name not in own)]
    assert merged.count("--hash") == len(pins(merged))


def test_names_are_compared_as_package_indexes_do():
    assert pins(model_requirements(lock_of(["Typing.Extensions"]), lock_of(["typing-extensions"]))) == {
        "Typing.Extensions": {"1.0"}
    }


def test_what_a_lock_begins_with_stays():
    assert model_requirements("--only-binary pandas\na==1\n", "b==2\n") == "--only-binary pandas\na==1\nb==2\n"


def test_an_empty_lock_gives_all_that_loading_needs():
    loader = LOADER_LOCK.read_text()
    assert model_requirements("", loader) == loader
    assert {"mlflow-skinny", "pandas", "numpy"} <= pins(loader).keys()


def test_the_shipped_locks_join_without_moving_a_version():
    prompt_flow, loader = pins((LOCKS / "promptflow.txt").read_text()), pins(LOADER_LOCK.read_text())
    assert {name: v for name, v in loader.items() if name in prompt_flow and v != prompt_flow[name]} == {}


def test_models_are_loaded_by_the_mlflow_that_registers_them():
    registering = pins((LOCKS / "orchestrator.txt").read_text())["mlflow"]
    assert pins(LOADER_LOCK.read_text())["mlflow-skinny"] == registering
