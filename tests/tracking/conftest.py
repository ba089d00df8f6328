import shutil

import pytest

from orchestration import tracking
from orchestration.tracking.store import connected


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory):
    """A database as first use leaves it; making one takes more than a second."""
    store = tracking.local_store(tmp_path_factory.mktemp("first"))
    with connected(store, "make a database"):
        pass
    return store.database


@pytest.fixture
def store(tmp_path, fresh_database):
    """A local store of its own, with the database in place."""
    store = tracking.local_store(tmp_path / "state")
    store.database.parent.mkdir(parents=True)
    shutil.copyfile(fresh_database, store.database)
    return store
