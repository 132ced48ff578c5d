"""model.joblib, data/prepared/test.npz -> metrics.json, predictions.csv (the same in every run) and timings.json (never quite the same)."""

import csv
import json
import time
from pathlib import Path

import joblib
import numpy as np
import yaml

MODEL = Path("model.joblib")


def write(path: str, values: dict[str, object]) -> None:
    Path(path).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["evaluate"]
    model = joblib.load(MODEL)
    data = np.load("data/prepared/test.npz")
    rows, digits = data["x"], data["y"]

    predicted = model.predict(rows)
    with open("predictions.csv", "w", encoding="ascii", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("digit", "predicted"), *zip(digits, predicted, strict=True)])
    right = predicted == digits
    by_digit = [float(right[digits == digit].mean()) for digit in range(10)]
    write(
        "metrics.json",
        {
            "accuracy": round(float(right.mean()), 4),
            "accuracy_worst_digit": round(min(by_digit), 4),
            "model_bytes": MODEL.stat().st_size,
        },
    )

    single = []  # one row at a time, as a server would ask
    for number in range(params["predictions"]):
        row = rows[number % len(rows)][np.newaxis]
        start = time.perf_counter()
        model.predict(row)
        single.append((time.perf_counter() - start) * 1e6)
    start = time.perf_counter()
    for _ in range(params["batches"]):
        model.predict(rows)
    per_second = params["batches"] * len(rows) / (time.perf_counter() - start)
    write(
        "timings.json",
        {
            "latency_us": {
                "median": round(float(np.median(single)), 1),
                "p95": round(float(np.percentile(single, 95)), 1),
            },
            "predictions_per_second": round(per_second),
        },
    )
    print(f"{right.mean():.1%} of {len(digits)} digits right, worst digit {min(by_digit):.1%}")


main()
