"""fsspec's own tests of file systems, those of reading. They write what they read: here each write makes another version."""

import os
import subprocess
from dataclasses import replace

import pytest
from fsspec.tests import abstract

from dvlite.formats import manifest
from dvlite.formats.manifest import FILE, Entry
from dvlite.formats.pointer import Pointer
from dvlite.oid import digest_bytes
from dvlite.reading.filesystem import DvliteFileSystem
from dvlite.reading.source import VersionSource
from dvlite.reading.version_tree import VersionTree
from dvlite.repo.tracked_paths import Tracked
from dvlite.store.cache_writer import Writer
from dvlite.store.pack import KIND_FILE, KIND_MANIFEST

TOP = "root"


class Filled(DvliteFileSystem):
    """A version that grows: what the tests write becomes a tracked directory."""

    def __init__(self, **options):
        super().__init__(**options)
        self.contents: dict[str, bytes] = {}

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self.contents[self._strip_protocol(path).removeprefix(f"{TOP}/")] = value
        self.become()

    def touch(self, path, *args, **kwargs):
        self.pipe_file(path, b"")

    def mkdir(self, path, *args, **kwargs):
        return

    def makedirs(self, path, *args, **kwargs):
        return

    def rm(self, path, *args, **kwargs):
        gone = self._strip_protocol(path).removeprefix(f"{TOP}/")
        self.contents = {name: data for name, data in self.contents.items() if not f"{name}/".startswith(f"{gone}/")}
        self.become()

    def become(self):
        stores = self._now_open.stores
        rows = [
            Entry(os.fsencode(name), FILE, len(data), digest_bytes(data))
            for name, data in sorted(self.contents.items())
        ]
        tree = manifest.build(manifest.from_entries(sorted(rows, key=lambda row: row.path)))
        with Writer(stores.cache, durable=False) as writer:
            for data in self.contents.values():
                writer.put(KIND_FILE, digest_bytes(data), data)
            for digest, data in tree.nodes:
                writer.put(KIND_MANIFEST, digest, data)
            writer.commit()
        self.source = replace(self.source, tracked=(Tracked(TOP, Pointer("directory", tree.root, tree.size_bytes)),))
        self._now_open.tree = VersionTree(self.source, stores)


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("abstract")
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        (folder / ".dvlite").mkdir()
        (folder / ".dvlite" / "config.yaml").touch()
        made = Filled(source=VersionSource(str(folder), None, None, "", (), 0.0), skip_instance_cache=True)
        made._now_open.stores.cache.create()
        return made

    @pytest.fixture
    def fs_path(self):
        return TOP

    @pytest.fixture
    def supports_empty_directories(self):
        return False


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Class-scoped fixtures")  # those of the suite
class TestGet(abstract.AbstractGetTests, Fixtures):
    pass
