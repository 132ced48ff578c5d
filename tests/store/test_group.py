"""A cache and a folder remote that several users share: what each makes, the others can use, whatever their umask."""

import os
import stat

import pytest

from dvlite.errors import DvliteError
from dvlite.oid import digest_bytes
from dvlite.store.cache import Cache
from dvlite.store.cache_writer import Writer
from dvlite.store.folder import FolderStore
from dvlite.store.pack import KIND_FILE
from dvlite.store.partial_file import PartialFile
from tests.trees import noise

GROUP = 3000


@pytest.fixture
def no_rights():
    before = os.umask(0o077)
    yield
    os.umask(before)


def rights(folder):
    """Returns the kinds of files and folders below a folder with their permissions."""
    paths = [folder, *folder.rglob("*")]
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in paths if path.name != "lock"}


def store(cache, content):
    """Adds a small file and a large one."""
    with Writer(cache) as writer:
        writer.put(KIND_FILE, digest_bytes(content), content)
        large = cache.folder / "tmp" / f"{os.getpid()}"
        large.write_bytes(content + noise(100_000, 1))
        writer.adopt_file(large, digest_bytes(large.read_bytes()), large.stat().st_size)
        writer.commit()


def test_a_shared_cache_is_open_to_its_group_whatever_the_umask(tmp_path, no_rights):
    cache = Cache(tmp_path / "cache", group=True, project=(tmp_path / "clone", tmp_path / "clone"))
    store(cache, b"one")
    assert rights(cache.folder) == {(True, 0o2775), (False, 0o444), (False, 0o664)}
    assert stat.S_IMODE((cache.folder / "lock").stat().st_mode) == 0o664
    own = Cache(tmp_path / "own")
    store(own, b"one")
    assert not any(mode & 0o070 for is_folder, mode in rights(own.folder) if is_folder)


def test_a_folder_remote_is_open_to_the_group_that_its_folder_is_open_to(tmp_path, no_rights):
    for mode, expected in ((0o2775, {(True, 0o2775), (False, 0o444)}), (0o700, {(True, 0o700), (False, 0o400)})):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        FolderStore(folder).put("packs/a/b", b"x")
        assert rights(folder) == expected


def as_user(number, work):
    """Runs a function as another user of the group, with the usual umask, and returns whether it ended well."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(number)
            os.umask(0o022)
            work()
            os._exit(0)
        except DvliteError:
            os._exit(3)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_members_of_a_group_use_one_cache_and_others_are_refused_before_they_begin(reachable):
    for name, mode in (("cache", 0o2775), ("store", 0o2775)):
        (reachable / name).mkdir()
        os.chown(reachable / name, 0, GROUP)
        (reachable / name).chmod(mode)
    for number in (2001, 2002):
        content = b"of %d" % number

        def work(content=content):
            store(Cache(reachable / "cache", group=True), content)
            FolderStore(reachable / "store").put(f"packs/{content.hex()}", content)

        assert as_user(number, work) == 0
    cache = Cache(reachable / "cache")
    assert [cache.read(digest_bytes(b"of %d" % number), (KIND_FILE,)) for number in (2001, 2002)]

    def begin():
        with Writer(Cache(reachable / "cache", group=True)) as writer:
            PartialFile(digest_bytes(b"large"), 10, writer).close()

    assert [as_user(number, begin) for number in (2001, 2002)] == [0, 0]  # a download that another member began
    # A cache that is not open to the group.
    (reachable / "alone").mkdir()
    os.chown(reachable / "alone", 2001, GROUP)
    assert as_user(2001, lambda: store(Cache(reachable / "alone"), b"alone")) == 0
    assert as_user(2002, lambda: store(Cache(reachable / "alone"), b"other")) == 3
    assert as_user(2002, lambda: Cache(reachable / "alone").read(digest_bytes(b"alone"), (KIND_FILE,))) == 0
