"""`dvlite.log`: what training writes is a series and a summary that a stage declares."""

import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import dvlite
from dvlite.formats import series


def read(name="metrics"):
    found = series.parse(Path(f"{name}.jsonl").read_bytes(), f"{name}.jsonl")
    assert not found.problems
    return {key: (list(one.steps), list(one.values)) for key, one in found.series.items()}


def summary(name="metrics"):
    return json.loads(Path(f"{name}.json").read_bytes())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Scalar:
    """What numpy and torch have: an array with one number, and one with more."""

    def __init__(self, value):
        self.value = value

    def item(self):
        return float(self.value) if not isinstance(self.value, list) else int("as numpy: only one element")


def test_steps_are_a_series_and_a_summary():
    with dvlite.log("out/metrics") as log:
        for step in range(3):
            log(loss=Scalar(1 / (step + 1)), val={"acc": step / 2}, step=step * 10)
        log({"val/f1": 0.5, "skipped": None}, ok=True)
        log.summary(best_epoch=2, note="fine", worst=float("-inf"))
    assert read("out/metrics") == {
        "loss": ([0, 10, 20], [1.0, 0.5, 1 / 3]),
        "val.acc": ([0, 10, 20], [0.0, 0.5, 1.0]),
        "val/f1": ([21], [0.5]),
        "ok": ([21], [1.0]),
    }
    assert summary("out/metrics") == {
        "loss": {"min": 1 / 3, "max": 1.0},
        "val.acc": {"min": 0.0, "max": 1.0},
        "val/f1": {"min": 0.5, "max": 0.5},
        "ok": {"min": 1, "max": 1},
        "best_epoch": 2,
        "note": "fine",
        "worst": "-Infinity",
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside the threads of pytest-xdist
def test_a_killed_run_keeps_what_it_had():
    child = os.fork()
    if not child:
        log = dvlite.log("metrics")
        for step in range(100):
            log(loss=step)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert read()["loss"][0] == list(range(100))
    assert "loss" in summary()


def test_not_a_number_is_kept_and_is_neither_least_nor_greatest():
    with dvlite.log("metrics") as log:
        for value in (float("nan"), 2.0, float("inf")):
            log(loss=value)
    steps, values = read()["loss"]
    assert (steps, values[1:], values[0] != values[0]) == ([0, 1, 2], [2.0, float("inf")], True)
    assert summary()["loss"] == {"min": 2.0, "max": "Infinity"}


def test_a_log_begins_again_or_goes_on():
    for _ in range(2):
        with dvlite.log("metrics") as log:
            log(loss=3.0)
            log(loss=2.0)
            log.summary(epoch=1)
    assert read()["loss"] == ([0, 1], [3.0, 2.0])
    with open("metrics.jsonl", "ab") as file:
        file.write(b'{"step": 2, "lo')  # killed here
    with dvlite.log("metrics", resume=True) as log:
        log(loss=1.0)
    assert read()["loss"] == ([0, 1, 2], [3.0, 2.0, 1.0])
    assert summary() == {"loss": {"min": 1.0, "max": 3.0}, "epoch": 1}
    with dvlite.log("metrics", resume=True) as log:
        log(loss=9.0, step=1)  # from a checkpoint
    assert read()["loss"] == ([0, 1], [3.0, 9.0])


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_that_is_linked_elsewhere_stays_there_as_it_is(link, resume):
    with dvlite.log("metrics") as log:
        log(loss=3.0)
    os.rename("metrics.jsonl", "cached")
    link("cached", "metrics.jsonl")
    before = Path("cached").read_bytes()
    with dvlite.log("metrics", resume=resume) as log:
        log(loss=1.0)
    assert Path("cached").read_bytes() == before
    assert len(read()["loss"][0]) == 1 + resume


def test_threads_share_a_log():
    with dvlite.log("metrics") as log:
        threads = [threading.Thread(target=lambda: [log(x=1) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read()["x"][0] == list(range(200))


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log(loss="low"),
        lambda log: log(loss=[1, 2]),
        lambda log: log(loss=Scalar([1, 2])),
        lambda log: log(time=1.0),
        lambda log: log(loss=1, step=0.5),
        lambda log: log(loss=1, step=float("inf")),
        lambda log: log.summary(model=object()),
    ],
)
def test_what_is_no_number_is_refused_and_nothing_is_written(call):
    with dvlite.log("metrics") as log:
        with pytest.raises(dvlite.UsageError):
            call(log)
        log(loss=1)
    assert read() == {"loss": ([0], [1.0])}


def test_one_step_is_one_write(monkeypatch):
    log = dvlite.log("metrics")
    size = []
    for _ in range(3):
        log(loss=0.5)
        size.append(os.stat("metrics.jsonl").st_size)
    log.close()
    log.close()
    assert len(set(size)) == 3


class Hook:
    """A base of callbacks."""

    def __init__(self, **hooks):
        vars(self).update(hooks)


def fit(x, y, *, epochs, callbacks):
    """Calls a callback as Keras does."""
    for epoch in range(len(x + y) and epochs):
        callbacks[0].on_epoch_end(epoch, {"loss": 1 / (epoch + 1)})


@pytest.mark.parametrize(
    ("heading", "last"), [("Keras", (8, 1 / 9)), ("Lightning", (7, 0.5)), ("Hugging Face", (7, 0.5))]
)
def test_recipes_of_the_docs_log_what_their_library_hands_over(heading, last):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "log-a-training.md").read_text(encoding="utf-8")
    code = page.split(f"## {heading}\n")[1].split("```python\n")[1].split("```")[0]
    keras = SimpleNamespace(callbacks=SimpleNamespace(LambdaCallback=Hook))
    transformers = SimpleNamespace(TrainerCallback=Hook, Trainer=lambda *_, callbacks: callbacks)
    names = {"keras": keras, "lightning": SimpleNamespace(Callback=Hook), "transformers": transformers}
    names |= {"dvlite": dvlite, "model": SimpleNamespace(fit=fit), "x": [1], "y": [1]}
    with dvlite.log("metrics") as names["log"]:
        exec(code, names)
        if heading == "Lightning":
            trainer = SimpleNamespace(is_global_zero=True, callback_metrics={"loss": Scalar(0.5)}, global_step=7)
            names["Log"]().on_validation_end(trainer, None)
        elif heading == "Hugging Face":
            state = SimpleNamespace(is_world_process_zero=True, global_step=7)
            names["Log"]().on_log(None, state, None, {"loss": 0.5, "note": "text"}, model=None)
        steps, values = read()["loss"]
    assert (steps[-1], values[-1]) == last
