"""The drawing of a pipeline: stages in layers, arrows that pass under no box."""

import re

from dvlite.reports.layout import HEIGHT, WIDTH, plan


def boxes_overlap(drawn):
    boxes = list(drawn.boxes.values())
    return any(
        abs(one.x - other.x) < WIDTH and abs(one.y - other.y) < HEIGHT
        for at, one in enumerate(boxes)
        for other in boxes[:at]
    )


def test_a_stage_stands_right_of_all_that_it_needs():
    needs = {"d": ("b", "c", "gone"), "a": (), "b": ("a",), "c": ("b",), "e": (), "f": ("a", "e")}
    drawn = plan(needs)
    assert set(drawn.boxes) == set(needs)
    assert all(drawn.boxes[before].x + WIDTH < drawn.boxes[after].x for before, after in drawn.arrows)
    assert len(drawn.arrows) == 6
    assert not boxes_overlap(drawn)
    assert all(box.x + WIDTH <= drawn.width and box.y + HEIGHT <= drawn.height for box in drawn.boxes.values())


def points(path):
    """Returns the points at the ends of the parts of a path, and of its level parts both."""
    found, x, y = [], 0, 0
    for letter, numbers in re.findall(r"([MCH])([-\d, ]+)", path):
        values = [int(each) for each in re.findall(r"-?\d+", numbers)]
        x, y = (values[0], y) if letter == "H" else values[-2:]
        found.append((letter, x, y))
    return found


def test_no_arrow_passes_under_a_box_of_a_column_between():
    needs = {"a": (), "b": ("a",), "c": ("b", "a"), "d": ("c", "other", "a"), "other": (), "more": ()}
    drawn = plan(needs)
    for (before, after), path in drawn.arrows.items():
        level = [(x, y) for letter, x, y in points(path) if letter == "H"]
        columns = {box.x for box in drawn.boxes.values() if drawn.boxes[before].x < box.x < drawn.boxes[after].x}
        assert {x - WIDTH for x, _ in level} == columns
        for right, y in level:
            inside = [
                box for box in drawn.boxes.values() if box.x + WIDTH == right and box.y - 4 < y < box.y + HEIGHT + 4
            ]
            assert not inside
    assert len(points(drawn.arrows["other", "d"])) == 6


def test_a_circle_is_drawn_too():
    assert set(plan({"a": ("b",), "b": ("a",)}).boxes) == {"a", "b"}


def test_a_wide_pipeline_is_placed_in_an_instant():
    needs = (
        {"start": ()} | {f"s{at}": ("start",) for at in range(3000)} | {"end": tuple(f"s{at}" for at in range(3000))}
    )
    assert not plan(needs).boxes.keys() - needs.keys()


def test_a_tangle_of_arrows_makes_no_page_that_nobody_can_open():
    needs = {f"s{at}": tuple(f"s{before}" for before in range(at)) for at in range(300)}
    drawn = plan(needs)
    assert len(drawn.arrows) == 300 * 299 // 2
    assert sum(map(len, drawn.arrows.values())) < 3_000_000
