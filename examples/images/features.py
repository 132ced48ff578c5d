"""Directions of edges, counted in cells: a histogram of oriented gradients, in short."""

import json
from pathlib import Path

import images
import numpy as np
import yaml

CELLS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["features"]["cells"]
DIRECTIONS = 6


def extract(source: str, target: str) -> None:
    image = images.read(source)
    down, across = np.gradient(image)
    strength = np.hypot(down, across)
    direction = np.minimum((np.arctan2(down, across) % np.pi / np.pi * DIRECTIONS).astype(int), DIRECTIONS - 1)
    rows = np.arange(image.shape[0])[:, None] * CELLS // image.shape[0]
    columns = np.arange(image.shape[1])[None, :] * CELLS // image.shape[1]
    place = (rows * CELLS + columns) * DIRECTIONS + direction
    counts = np.bincount(place.ravel(), strength.ravel(), minlength=CELLS * CELLS * DIRECTIONS)
    Path(target).write_text(json.dumps([round(float(count), 4) for count in counts]) + "\n", encoding="utf-8")
