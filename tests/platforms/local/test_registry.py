import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from registry_samples import CALLABLE, ROOT, make_candidate

from orchestration.errors import PlatformError, ResourceNotFound, ResourceRefused
from orchestration.platforms.local.registry import LocalRegistry
from orchestration.tracking.store import connected, local_store

DECISION = "d" * 64


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory):
    store = local_store(tmp_path_factory.mktemp("first"))
    with connected(store, "make a database"):
        return store.database


@pytest.fixture
def state(tmp_path, fresh_database):
    database = local_store(tmp_path / "state").database
    database.parent.mkdir(parents=True)
    shutil.copyfile(fresh_database, database)
    return tmp_path / "state"


@pytest.fixture
def registry(state):
    return LocalRegistry(state)


@pytest.fixture
def candidate(tmp_path, state):
    return make_candidate(tmp_path / "project", state)


def register(registry, candidate, **tags):
    return registry.register_model(candidate, decision=DECISION, tags=tags)


def tags_of(state, model):
    with connected(local_store(state), "look") as client:
        return client.get_model_version(model.name, model.version).tags


def test_a_registered_candidate_is_found_by_its_content(registry, candidate):
    assert registry.find_model("echo", candidate.content_hash) is None
    model = register(registry, candidate)
    assert (model.name, model.version, model.content_hash, model.decision) == (
        "echo", "1", candidate.content_hash, DECISION,
    )  # fmt: skip
    assert registry.find_model("echo", candidate.content_hash) == model
    assert registry.find_model("echo", "0" * 64) is None
    registry.verify(model)


def test_finding_it_again_needs_no_mlflow(registry, candidate, state):
    model = register(registry, candidate)
    code = (
        "import sys; from pathlib import Path; from orchestration.platforms.local.registry import LocalRegistry;"
        "print(LocalRegistry(Path(sys.argv[1])).find_model('echo', sys.argv[2]).version, 'mlflow' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-c", code, str(state), model.content_hash]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_a_version_whose_files_were_removed_is_not_found_and_gets_them_again(registry, candidate):
    model = register(registry, candidate)
    shutil.rmtree(registry.model_folder(model))
    assert registry.find_model("echo", candidate.content_hash) is None
    assert register(registry, candidate) == model
    assert registry.find_model("echo", candidate.content_hash) == model
    registry.verify(model)


def test_a_version_that_was_deleted_by_hand_is_not_found(registry, candidate, state):
    model = register(registry, candidate)
    with connected(local_store(state), "delete") as client:
        client.delete_model_version(model.name, model.version)
    assert registry.find_model("echo", candidate.content_hash) is None
    assert register(registry, candidate).version == "2"


def test_a_version_whose_tags_were_removed_by_hand_is_mended(registry, candidate, state):
    model = register(registry, candidate)
    with connected(local_store(state), "remove") as client:
        for tag in ("sluice.manifest", "sluice.decision"):
            client.delete_model_version_tag(model.name, model.version, tag)
    assert registry.find_model("echo", candidate.content_hash) == replace(model, decision="")
    with pytest.raises(PlatformError, match="sluice run"):
        registry.verify(model)
    register(registry, candidate)
    registry.verify(model)


def test_nothing_is_created_by_looking(tmp_path):
    assert LocalRegistry(tmp_path / "state").find_model("echo", "0" * 64) is None
    assert list(tmp_path.iterdir()) == []


def test_new_content_is_looked_for_without_mlflow(registry, candidate, state):
    register(registry, candidate)
    code = f"""
import sys
from pathlib import Path
from orchestration.platforms.local.registry import LocalRegistry
found = LocalRegistry(Path({str(state)!r})).find_model("echo", "0" * 64)
print(found, "mlflow" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "None False\n"


def test_the_same_content_is_the_same_version(registry, candidate, tmp_path, state):
    first = register(registry, candidate)
    with_other_data = make_candidate(tmp_path / "project", state, data='{"question": "b"}\n')
    assert with_other_data.id != candidate.id
    assert registry.register_model(with_other_data, decision="e" * 64, tags={}) == first
    changed = make_candidate(tmp_path / "project", state, {**CALLABLE, "word.txt": "bye"})
    assert register(registry, changed).version == "2"
    assert registry.find_model("echo", candidate.content_hash) == first


def test_the_version_says_where_it_comes_from(registry, candidate, state):
    model = register(registry, candidate, **{"sluice.verdict": "PASS", "metric.accuracy": "0.91"})
    tags = tags_of(state, model)
    assert tags["sluice.decision"] == DECISION
    assert tags["sluice.content_hash"] == candidate.content_hash
    assert tags["sluice.commit"] == candidate.commit
    assert tags["sluice.dirty"] == str(candidate.dirty).lower()
    assert tags["sluice.lock_hash"] == candidate.lock_hash
    assert (tags["sluice.verdict"], tags["metric.accuracy"]) == ("PASS", "0.91")


def test_what_is_served_are_the_files_that_were_judged(registry, candidate):
    model = register(registry, candidate)
    for name, content in CALLABLE.items():
        assert (registry.folder(model) / name).read_text() == content
    assert sorted(p.name for p in registry.folder(model).iterdir()) == sorted(CALLABLE)
    assert model.uri == registry.model_folder(model).as_uri()


def test_an_alias_names_the_version(registry, candidate, state):
    model = register(registry, candidate)
    registry.set_alias(model, "dev")
    with connected(local_store(state), "look") as client:
        assert client.get_model_version_by_alias("echo", "dev").version == int(model.version)


@pytest.mark.parametrize("name", ["flow/answer.py", "code/sluice_runner/pyfunc.py", "requirements.txt", "MLmodel"])
def test_one_changed_byte_is_found_and_healed_by_registering_again(registry, candidate, name):
    model = register(registry, candidate)
    file = registry.model_folder(model) / name
    file.chmod(0o644)
    file.write_bytes(b"#" + file.read_bytes()[1:])
    with pytest.raises(PlatformError, match=Path(name).name):
        registry.verify(model)
    assert register(registry, candidate) == model
    registry.verify(model)


def test_added_and_missing_files_are_found(registry, candidate):
    model = register(registry, candidate)
    added = registry.folder(model) / "more.py"
    added.write_text("")
    with pytest.raises(PlatformError, match=r"more\.py"):
        registry.verify(model)
    added.unlink()
    (registry.folder(model) / "word.txt").unlink()
    with pytest.raises(PlatformError, match=r"word\.txt"):
        registry.verify(model)


def test_bytecode_beside_the_runner_is_no_change(registry, candidate):
    model = register(registry, candidate)
    cache = registry.model_folder(model) / "code" / "sluice_runner" / "__pycache__"
    cache.mkdir()
    (cache / "pyfunc.cpython-311.pyc").write_bytes(b"")
    registry.verify(model)


def test_a_consistent_forgery_is_found(registry, candidate):
    model = register(registry, candidate)
    folder = registry.model_folder(model)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps({"files": {}}))
    with pytest.raises(PlatformError, match=r"manifest\.json"):
        registry.verify(model)


def test_a_version_that_is_not_registered_can_not_be_verified(registry, candidate):
    model = register(registry, candidate)
    for other in (replace(model, version="7"), replace(model, content_hash="0" * 64)):
        with pytest.raises(ResourceNotFound):
            registry.verify(other)


def test_a_candidate_that_was_changed_is_not_registered(registry, candidate):
    file = candidate.folder / "flow" / "word.txt"
    file.chmod(0o644)
    file.write_text("other")
    with pytest.raises(PlatformError, match=r"word\.txt"):
        register(registry, candidate)
    assert registry.find_model("echo", candidate.content_hash) is None
    with pytest.raises(PlatformError, match="as it was judged"):
        register(registry, replace(candidate, content_hash="0" * 64))


def test_a_model_of_the_same_name_that_is_not_ours_is_left_alone(registry, candidate, state):
    with connected(local_store(state), "make another's") as client:
        client.create_registered_model("echo")
    with pytest.raises(ResourceRefused):
        register(registry, candidate)


def test_what_a_killed_process_left_behind_is_replaced(registry, candidate, state):
    place = state.resolve() / "mlflow" / "artifacts" / "models" / "echo" / candidate.content_hash
    place.mkdir(parents=True)
    (place / "half").write_text("")
    (place.parent / ".unfinished" / "flow").mkdir(parents=True)
    registry.verify(register(registry, candidate))
    assert not (place / "half").exists()
    assert list(place.parent.iterdir()) == [place]


def test_the_model_holds_no_connection_but_its_name(registry, candidate):
    folder = registry.model_folder(register(registry, candidate))
    model = json.loads((folder / "MLmodel").read_text())
    config = model["flavors"]["python_function"]["config"]
    assert config == {"connections": {"aoai": {}}, "variant": None}


def test_importing_and_making_a_registry_does_not_import_mlflow(tmp_path):
    code = (
        "import sys; from pathlib import Path; from orchestration.platforms.local.registry import LocalRegistry;"
        "LocalRegistry(Path(sys.argv[1])); print('mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


RACERS = """
import multiprocessing, os, sys
from pathlib import Path
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow, mlflow.store.tracking.sqlalchemy_store
from orchestration.candidates import load_candidate
from orchestration.platforms.local.registry import LocalRegistry

def race(state, candidate, start, versions):
    start.wait()
    versions.put(LocalRegistry(state).register_model(candidate, decision="d" * 64, tags={}).version)

state, count = Path(sys.argv[1]), 8
candidate = load_candidate(state, sys.argv[2])
context = multiprocessing.get_context("fork")  # what is slow, importing MLflow, happens once
start, versions = context.Barrier(count), context.Queue()
racers = [context.Process(target=race, args=(state, candidate, start, versions)) for _ in range(count)]
for racer in racers:
    racer.start()
for racer in racers:
    racer.join()
print([racer.exitcode for racer in racers], sorted(versions.get() for _ in racers))
"""


@pytest.mark.real
def test_eight_processes_that_register_at_once_make_one_version(tmp_path):
    """On a state folder that nobody used before, so they race for the database and the registered model, too."""
    state = tmp_path / "state"
    candidate = make_candidate(tmp_path / "project", state)
    done = subprocess.run(
        [sys.executable, "-c", RACERS, state, candidate.id],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.strip() == f"{[0] * 8} {['1'] * 8}"
    with connected(local_store(state), "look") as client:
        assert len(client.search_model_versions("name = 'echo'")) == 1
    assert len(list((state / "mlflow" / "artifacts" / "models" / "echo").iterdir())) == 1
