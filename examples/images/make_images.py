"""Writes handwritten digits as images, in a folder for each of ten writers: python make_images.py [COUNT].

The data set has 1,797 images of 8 x 8 pixels; they are written four times as large. From the 1,798th on, an image is an earlier one shifted by a
pixel. The same number gives the same bytes.
"""

import sys
from pathlib import Path

import numpy as np
from images import write
from sklearn.datasets import load_digits

FOLDER = Path("data/images")


def main(count: int) -> None:
    digits = load_digits()
    lines = ["image,digit"]
    for number in range(count):
        known = number % len(digits.images)
        image = np.roll(digits.images[known], number // len(digits.images), axis=1) / 16
        name, folder = f"{number:05d}", FOLDER / f"writer-{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        write(str(folder / f"{name}.pgm"), np.kron(image, np.ones((4, 4))))
        lines.append(f"{name},{digits.target[known]}")
    Path("data/labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {count} images and data/labels.csv")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
