"""The digits that scikit-learn ships -> data/digits.npz: rows to learn from, to check after each epoch, and to test at the end."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def main(target: str) -> None:
    pixels, digits = load_digits(return_X_y=True)
    part = np.arange(len(digits)) % 5  # by number, not at random: rows that come later move none of these
    sets = {"learn": part < 3, "check": part == 3, "test": part == 4}
    arrays = {
        f"{name}_{kind}": values[rows]
        for name, rows in sets.items()
        for kind, values in (("x", pixels / 16), ("y", digits))
    }
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **arrays)
    print(", ".join(f"{rows.sum()} rows to {name}" for name, rows in sets.items()))


main(sys.argv[1])
