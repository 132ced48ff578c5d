"""Writes the measurements of Fisher's irises as a table with a number for each flower."""

import csv
from pathlib import Path

from sklearn.datasets import load_iris

iris = load_iris()
path = Path("data/irises.csv")
path.parent.mkdir(exist_ok=True)
with path.open("w", encoding="ascii", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["id", "sepal_length", "sepal_width", "petal_length", "petal_width", "species"])
    for number, (flower, species) in enumerate(zip(iris.data, iris.target, strict=True), start=1):
        table.writerow([number, *flower, iris.target_names[species]])
print(f"wrote {path}")
