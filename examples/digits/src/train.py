"""data/prepared/train.npz -> model.joblib: the kind of model that params.yaml names."""

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


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    data = np.load("data/prepared/train.npz")
    model = make(params).fit(data["x"], data["y"])
    joblib.dump(model, "model.joblib")
    print(f"{params['kind']} trained on {len(data['y'])} rows")


main()
