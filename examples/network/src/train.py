"""data/digits.npz -> a network, its curve (a JSON line after each epoch) and its accuracy on rows that it never saw."""

import argparse
import json
from pathlib import Path

import joblib
import numpy as np
import yaml
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser()
parser.add_argument("digits")
parser.add_argument("folder", type=Path)
parser.add_argument("--width", type=int)
parser.add_argument("--seed", type=int)


def main() -> None:
    args = parser.parse_args()
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]
    data = np.load(args.digits)
    network = MLPClassifier(
        (args.width,),
        learning_rate_init=params["rate"],
        batch_size=params["batch"],
        alpha=params["decay"],
        random_state=args.seed,
    )
    args.folder.mkdir(parents=True, exist_ok=True)
    with open(args.folder / "curve.jsonl", "w", encoding="utf-8") as curve:
        for epoch in range(1, params["epochs"] + 1):
            network.partial_fit(data["learn_x"], data["learn_y"], classes=range(10))
            guesses = network.predict_proba(data["check_x"])
            check = {
                "loss": round(float(log_loss(data["check_y"], guesses)), 5),
                "accuracy": round(float((guesses.argmax(axis=1) == data["check_y"]).mean()), 4),
            }
            line = {"epoch": epoch, "loss": round(float(network.loss_), 5), "check": check}
            print(json.dumps(line), file=curve, flush=True)  # flushed: `dvlite runs --watch` shows the last line
    accuracy = round(float((network.predict(data["test_x"]) == data["test_y"]).mean()), 4)
    metrics = {"accuracy": accuracy, "weights": sum(layer.size for layer in network.coefs_)}
    (args.folder / "metrics.json").write_text(json.dumps(metrics) + "\n", encoding="utf-8")
    joblib.dump(network, args.folder / "network.joblib")
    print(f"width {args.width}, seed {args.seed}: {accuracy:.1%} of the test right after {params['epochs']} epochs")


main()
