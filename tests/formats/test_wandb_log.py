"""W&B's run files: what is whole is read, whatever lies around it."""

import io

import pytest

from dvlite.errors import FormatError
from dvlite.formats import wandb_log
from dvlite.formats.wandb_log import WandbRun
from tests.formats import wandb_logs
from tests.formats.wandb_logs import history

STEPS = [
    history(step, acc=step / 4000, note="x" * 20) for step in range(2000)
]  # several blocks, with records over their borders


def read(data):
    run = WandbRun()
    return run, list(wandb_log.read(io.BytesIO(data), run))


def steps(rows):
    return [(step, row["acc",]) for step, row in rows]


def test_all_of_a_run_is_read_over_the_borders_of_blocks():
    run, rows = read(
        wandb_logs.log(
            wandb_logs.run(
                "abc123", config={"lr": 0.1}, tags=("best",), entity="acme", project="birds", name="goose", notes="n"
            ),
            *STEPS,
            wandb_logs.summary(acc=0.9),
            wandb_logs.machine("train.py", "--lr", "0.1", git=("git@example.com:acme/birds", "c" * 40)),
            wandb_logs.artifact("model:v0", ("m.bin", "Y/Txh", 7, ""), ("far", "etag", 9, "s3://acme/far")),
            wandb_logs.end(3, runtime=12),
        )
    )
    assert steps(rows) == [(step, step / 4000) for step in range(2000)]
    assert (run.id, run.entity, run.project, run.name, run.notes, run.tags) == (
        *("abc123", "acme", "birds", "goose", "n"),
        ("best",),
    )
    assert (run.start, run.exit_code, run.runtime) == (1_767_225_600, 3, 12)
    assert (run.config, run.summary) == ({("lr",): 0.1}, {("acc",): 0.9})
    assert (run.machine["args"], run.git_commit) == (["--lr", "0.1"], "c" * 40)
    assert [(item.path, item.size_bytes, item.ref) for item in run.artifacts] == [
        ("model:v0/m.bin", 7, ""),
        ("model:v0/far", 9, "s3://acme/far"),
    ]
    assert not run.problems


def test_a_file_that_ends_in_a_record_has_all_before_it_without_a_word():
    whole = wandb_logs.log(*STEPS)
    for end in (len(whole) - 1, len(whole) - 30, wandb_logs.BLOCK + 3, 100):
        run, rows = read(whole[:end])
        assert steps(rows) == [(step, step / 4000) for step in range(len(rows))]
        assert not run.problems
    assert len(read(whole + bytes(5000))[1]) == 2000, "what was never written"


def test_a_damaged_block_is_a_problem_and_the_others_are_read():
    data = bytearray(wandb_logs.log(*STEPS))
    data[5000] ^= 1
    run, rows = read(bytes(data))
    assert 1000 < len(rows) < 2000
    assert rows[-1][0] == 1999
    assert run.problems == ["a part of it is damaged"]


@pytest.mark.parametrize(
    "record",
    [b"\xff" * 11, b"\x12\x05\x0a", history(1, acc="[" * 50_000), history(1, acc="{not json"), b"\x8a\x01\x02\x08\x01"],
)
def test_a_record_that_is_none_hides_no_other(record):
    rows = read(wandb_logs.log(record, *STEPS[:3]))[1]
    assert steps(rows[-3:]) == [(0, 0), (1, 0.00025), (2, 0.0005)]


@pytest.mark.parametrize("data", [b"", b":W&B", b"PK\x03\x04", b"\0" * 100_000])
def test_another_file_is_refused(data):
    with pytest.raises(FormatError, match="no run file"):
        read(data)


def test_a_record_of_any_length_takes_bounded_memory(monkeypatch):
    monkeypatch.setattr(wandb_log, "_LONGEST", 100_000)
    run, rows = read(wandb_logs.log(history(0, acc=0, text="y" * 200_000), *STEPS[:2]))
    assert [step for step, _ in rows] == [0, 1]
    assert run.problems == ["a record in it has more than 100000 bytes"]
