"""Text: compared without what is ignored."""


def test_text_is_compared_without_what_is_ignored(compared):
    old, new = "start\nloss=0.5 in 3.2 s\nend\n", "start\r\nloss=0.5 in 9 s\r\nend"
    assert compared(old, new, name="log", kind="text", ignore=(r"in [0-9.]+ s",)).equivalent
    found = compared(old, new.replace("0.5", "0.7"), name="log", kind="text", ignore=(r"in [0-9.]+ s",))
    assert found.lines == ("line 2 is the first that differs", "- loss=0.5 ", "+ loss=0.7 ")


def test_a_line_of_which_nothing_is_left_does_not_count(compared):
    assert compared(
        "a\nwarning: x\nb\n", "a\nb\nwarning: y\n", name="log", kind="text", ignore=("^warning.*",)
    ).equivalent
    assert not compared("a\n\nb\n", "a\nb\n", name="log", kind="text").equivalent


def test_only_how_a_line_ends_does_not_count(compared):
    for length in (1, 65_534, 65_535, 65_536):
        assert compared("x" * length + "\r\ny", "x" * length + "\ny\n", name="log", kind="text").equivalent
    for old, new in (("", "\n"), ("a\r\r\n", "a\n"), ("a\rb\n", "a\nb\n"), (b"\xff\n", b"\xfe\n"), ("a", "a\n\n")):
        assert not compared(old, new, name="log", kind="text").equivalent
