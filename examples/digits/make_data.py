"""Writes the raw data: handwritten digits in parts, as they come from a scanner that sometimes fails.

python make_data.py 2 writes the parts 1 and 2 of 3. The same part is always the same, so that everybody gets the same bytes.
"""

import csv
import random
import sys
from pathlib import Path

from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent / "data" / "raw"
ROWS = 600  # in a part; 1,797 in all
BAD_SHARE = 0.002  # of the pixels
BAD_VALUES = ("", "-1", "255")  # nothing, or outside of 0 to 16


def write_part(number: int) -> Path:
    pixels, labels = load_digits(return_X_y=True)
    chance = random.Random(number)
    path = FOLDER / f"part-{number}.csv"
    with path.open("w", encoding="ascii", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["digit", *(f"p{row}{column}" for row in range(8) for column in range(8))])
        for index in range((number - 1) * ROWS, min(number * ROWS, len(labels))):
            values = [chance.choice(BAD_VALUES) if chance.random() < BAD_SHARE else int(p) for p in pixels[index]]
            table.writerow([labels[index], *values])
    return path


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for part in range(1, int(sys.argv[1]) + 1):
        print(f"wrote {write_part(part).relative_to(Path(__file__).parent)}")
