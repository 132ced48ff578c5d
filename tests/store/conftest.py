"""A cache, a store that records, and a world around it."""

import pytest

from dvlite.store.cache import Cache
from tests.store.memory import MemoryStore, RecordingStore
from tests.store.world import World


@pytest.fixture
def cache(tmp_path):
    made = Cache(tmp_path / "cache", pack_below_bytes=1024)
    made.create()
    return made


@pytest.fixture
def store():
    return RecordingStore(MemoryStore())


@pytest.fixture
def world(tmp_path, store):
    made = World(tmp_path, store)
    yield made
    made.close()


@pytest.fixture(scope="session")
def models_read_once():
    """Spares each client 0.1 s of CPU: botocore reads its models of S3 and STS for each."""
    import botocore.loaders
    import botocore.session

    reader = botocore.loaders.create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda *_: reader)
        yield
