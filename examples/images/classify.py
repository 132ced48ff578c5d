"""features/ and data/labels.csv -> model.joblib and metrics.json; every fifth image is left for the check."""

import csv
import json
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

with open("data/labels.csv", encoding="utf-8", newline="") as file:
    labels = {row["image"]: int(row["digit"]) for row in csv.DictReader(file)}
paths = sorted(Path("features").rglob("*.json"))
x = np.array([json.loads(path.read_text(encoding="utf-8")) for path in paths])
y = np.array([labels[path.stem] for path in paths])
is_check = np.arange(len(y)) % 5 == 4
model = LogisticRegression(C=10, max_iter=2000).fit(x[~is_check], y[~is_check])
joblib.dump(model, "model.joblib")
accuracy = round(float(model.score(x[is_check], y[is_check])), 4)
Path("metrics.json").write_text(json.dumps({"accuracy": accuracy, "images": len(y)}) + "\n", encoding="utf-8")
print(f"learned from {np.count_nonzero(~is_check)} images, accuracy {accuracy} on {np.count_nonzero(is_check)}")
