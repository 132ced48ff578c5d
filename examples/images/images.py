"""Grey images as PGM, the simplest format that every viewer opens, and a thumbnail of one."""

from pathlib import Path

import numpy as np


def read(path: str) -> np.ndarray:
    _, size, most, pixels = Path(path).read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width).astype(float) / int(most)


def write(path: str, image: np.ndarray) -> None:
    height, width = image.shape
    pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8).tobytes()
    Path(path).write_bytes(b"P5\n%d %d\n255\n" % (width, height) + pixels)


def thumbnail(source: str, target: str) -> None:
    """A quarter of the size: each pixel is the mean of 4 x 4."""
    image = read(source)
    height, width = image.shape
    write(target, image.reshape(height // 4, 4, width // 4, 4).mean(axis=(1, 3)))
