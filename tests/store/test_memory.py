"""Memory: what push and pull hold at a time depends on the packs in flight, not on the size of the data."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CODE = """
import os, sys, threading, time
from pathlib import Path
from dvlite.formats import store_config
from dvlite.formats.store_config import DEFAULT
from dvlite.store.folder import FolderStore
from tests.store.world import World

folder, size = Path(sys.argv[1]), int(sys.argv[2])
peak = [0]

def watch():
    while peak[0] >= 0:
        with open("/proc/self/status") as lines:
            used = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
        peak[0] = max(peak[0], used)
        time.sleep(0.005)

store = FolderStore(folder / "store")
store.put(store_config.NAME, store_config.dump(DEFAULT))  # chunks as large as they are out there
world = World(folder, store)
here, there = world.site("here"), world.site("there")
with open(folder / "big", "wb") as file:
    for _ in range(size >> 20):
        file.write(os.urandom(1 << 20))
from dvlite.formats.snapshot import Version
from dvlite.store.cache_writer import Writer
from dvlite.oid import FILE

with Writer(here.cache) as writer, open(folder / "big", "rb") as file:
    digest = writer.put_large(file.fileno(), "big")
    writer.commit()
os.unlink(folder / "big")
version = Version("big", FILE, digest, size)
threading.Thread(target=watch, daemon=True).start()
here.push(version)
pushed = peak[0]
peak[0] = 0
assert there.fetch(version) == []
print(pushed, peak[0])
world.close()
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not say how much memory is used")
def test_a_large_file_needs_the_memory_of_a_few_packs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path, str(384 << 20)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    pushed, pulled = map(int, done.stdout.split())
    assert pushed < 300_000, f"push held {pushed // 1000} MB of 400"
    assert pulled < 300_000, f"pull held {pulled // 1000} MB of 400"
