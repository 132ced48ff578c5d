"""The words of `doctor`."""

from dvlite.commands.doctor import DoctorLine, DoctorResult
from dvlite.show import Show
from dvlite.text.doctor import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_doctor():
    lines = (
        DoctorLine(topic="links", text="reflink works"),
        DoctorLine(topic="cache", text="1 GiB"),
        DoctorLine(topic="cache", text="disk is full", level="problem", fix="dvlite cache prune --pushed"),
    )
    result = DoctorResult(ok=False, lines=lines)
    assert said(result) == [
        "links  reflink works",
        "cache  1 GiB",
        "       problem: disk is full",
        "       fix: dvlite cache prune --pushed",
    ]
    assert said(result, Show(quiet=True))[0] == "cache  problem: disk is full"
    assert result.failure(Show()).message == "1 problem found"
