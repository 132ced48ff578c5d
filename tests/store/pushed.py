"""What tests push, and whether a colleague gets it."""

from tests.store.world import noise

SMALL = {f"d{i % 7}/{i:04d}": noise(100 + i % 50, i) for i in range(300)}


LARGE = noise(60_000, 1)


EDITED = LARGE[:30_000] + b"inserted" + LARGE[30_000:]


def assert_complete(world, name, version, content):
    """A colleague with nothing gets every byte."""
    colleague = world.site(name)
    assert colleague.fetch(version) == []
    assert colleague.content(version) == content
