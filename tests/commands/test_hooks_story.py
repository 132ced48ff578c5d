"""Two people, one bare git repository, one bucket, hooks installed: a day of theirs."""

import os
import shutil
import subprocess

from tests.commands.hooked import Hooked, said

IMAGES = 20


def heads(project):
    return project.git("ls-remote", "--heads", "origin")


def test_a_day_of_two_people(tmp_path, invoke, monkeypatch, weed, s3_url, on_path):
    monkeypatch.setenv("DVLITE_TRUST", weed.endpoint_url)
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "birds.git")], check=True)
    subprocess.run(["git", "clone", "-q", "birds.git", "ann"], cwd=tmp_path, check=True, capture_output=True)
    ann = Hooked(tmp_path / "ann", invoke)
    ann.dvlite("init")
    for number in range(IMAGES):
        ann.write(f"data/images/{number}.jpg", os.urandom(10_000))
    ann.dvlite("add", "data/images")
    ann.dvlite("remote", "add", s3_url, "-o", f"endpoint_url={weed.endpoint_url}")
    ann.does("commit", "-qm", "Track images")
    assert said(ann.does("push", "-q", "-u", "origin", "main"))[0].startswith(
        (f"pushed {IMAGES} files, 19", f"pushed {IMAGES} files, 20")
    )

    # a colleague clones, and has the data and the hooks
    ann.dvlite("clone", tmp_path / "birds.git", tmp_path / "bob", cwd="..")
    bob = Hooked(tmp_path / "bob", invoke)
    assert len(bob.listing("data/images")) == IMAGES
    assert (bob.hooks / "pre-push").exists()

    # a commit whose pointer is not what is on disk is blocked
    for name in ("gull.jpg", "tern.jpg"):
        ann.write(f"data/images/{name}", os.urandom(50_000))
    ann.dvlite("add", "-u")
    (ann.root / "data/images/0.jpg").unlink()
    before = ann.head
    assert said(ann.refuses("commit", "-qm", "Gulls"))[0] == (
        "blocked: data/images.dvlite in this commit is not what is on disk (-1 file: 0.jpg)"
    )
    assert ann.head == before
    ann.dvlite("checkout", "data/images/0.jpg")
    ann.does("commit", "-qm", "Gulls")

    # a file of 12 MB into git is blocked, with the command that tracks it
    ann.write("model.pt", os.urandom(12_000_000))
    ann.does("add", "model.pt")
    lines = said(ann.refuses("commit", "-qm", "Model"))
    assert lines[0].startswith("blocked: 'model.pt' (11.4 MiB): larger than 10.0 MiB")
    command = lines[1].removeprefix("to track it with dvlite: ")
    subprocess.run(["sh", "-c", command], cwd=ann.root, check=True, capture_output=True)
    ann.does("commit", "-qm", "Model")

    # git push uploads exactly the new data
    objects = bucket_bytes(weed, s3_url)
    assert said(ann.does("push", "-q"))[0].startswith("pushed 3 files, 11.")
    assert 12_100_000 <= bucket_bytes(weed, s3_url) - objects < 12_700_000

    # git pull after a colleague's push brings theirs; the model too, for it is under hooks.fetch_limit
    lines = said(bob.does("pull", "-q"))
    assert len(lines) == 1
    assert "3 files written, 11.5 MiB" in lines[0]
    assert len(bob.listing("data/images")) == IMAGES + 2
    assert bob.read("model.pt") == ann.read("model.pt")
    assert bob.is_clean()

    # git checkout of another branch swaps data
    bob.does("checkout", "-q", "-b", "old", "HEAD~2")
    assert len(bob.listing("data/images")) == IMAGES
    assert not bob.has("model.pt")
    bob.write("data/images/owl.jpg", os.urandom(10_000))
    bob.save("Owl")

    # git push with the cache emptied is refused, naming the path
    shutil.rmtree(bob.cache)
    published = heads(bob)
    lines = said(bob.refuses("push", "-q", "origin", "old"))
    assert lines[0].startswith("blocked: cannot push 'data/images': ")
    assert heads(bob) == published
    bob.dvlite("add", "data/images")  # the data is still on disk
    assert said(bob.does("push", "-q", "origin", "old"))[0].startswith("pushed 1 file, 1")

    # and the first one merges it: both sides' images, from manifests alone
    ann.does("fetch", "-q")
    ann.does("merge", "-q", "origin/old")
    assert len(ann.listing("data/images")) == IMAGES + 3
    assert ann.read("data/images/owl.jpg") == bob.read("data/images/owl.jpg")
    assert ann.is_clean()
    assert said(ann.does("push", "-q"))


def bucket_bytes(weed, url):
    """Returns how much a remote holds."""
    import s3fs

    bucket = s3fs.S3FileSystem(
        key=weed.access_key_id,
        secret=weed.secret_access_key,
        endpoint_url=weed.endpoint_url,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return bucket.du(url.removeprefix("s3://"))
