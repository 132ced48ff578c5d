"""data/prepared/train.npz -> model.joblib, the kind of model that params.yaml names; learning.jsonl: would more rows help?"""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import yaml
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC


def make(params: dict[str, Any]) -> ClassifierMixin:
    if params["kind"] == "logistic":
        return LogisticRegression(C=params["c"], max_iter=1000)
    if params["kind"] == "svm":
        return SVC(C=params["c"])
    if params["kind"] == "forest":
        return RandomForestClassifier(params["trees"], random_state=params["seed"])
    raise SystemExit(f"params.yaml: train.kind is {params['kind']!r}, not logistic, svm or forest")


def learning(params: dict[str, Any], pixels: np.ndarray, digits: np.ndarray) -> None:
    """Fits to a part of the rows, and a larger one; every fifth row is left for the check."""
    is_check = np.arange(len(digits)) % 5 == 4
    rows, known = pixels[~is_check], digits[~is_check]
    with open("learning.jsonl", "w", encoding="utf-8") as file:
        for count in np.linspace(len(known) // 8, len(known), 8, dtype=int):
            model = make(params).fit(rows[:count], known[:count])
            learned, checked = model.score(rows[:count], known[:count]), model.score(pixels[is_check], digits[is_check])
            line = {"step": int(count), "learned": round(float(learned), 4), "checked": round(float(checked), 4)}
            print(json.dumps(line), file=file)  # a step is a number of rows


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    data = np.load("data/prepared/train.npz")
    model = make(params).fit(data["x"], data["y"])
    joblib.dump(model, "model.joblib")
    learning(params, data["x"], data["y"])
    print(f"{params['kind']} trained on {len(data['y'])} rows")


main()
