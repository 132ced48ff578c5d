"""The words of `get`."""

from dvlite.commands.get import GetResult
from dvlite.show import Show
from dvlite.text.get import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_get_keeps_quiet_when_the_data_went_to_standard_output():
    result = GetResult(source="u", path="m.pt", revision="0" * 40, output="m.pt", oid="x", files=1, size_bytes=5)
    assert said(result) == ["Wrote m.pt (5 B) from m.pt in u at 00000000. 0.0 s"]
    result = GetResult(source=".", path="d", revision="", output="../d", oid="x", files=2, size_bytes=5)
    assert said(result) == ["Wrote ../d (2 files, 5 B) from d in this repository. 0.0 s"]
    assert said(GetResult(source="u", path="p", revision="", output="-", oid="x", files=1, size_bytes=5)) == []
