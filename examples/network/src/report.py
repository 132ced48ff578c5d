"""networks/width32-seed*/metrics.json -> reports/width32.json: what a width reaches, whatever the seed."""

import json
import sys
from pathlib import Path


def main(target: str, *files: str) -> None:
    accuracies = [json.loads(Path(file).read_text(encoding="utf-8"))["accuracy"] for file in files]
    mean = round(sum(accuracies) / len(accuracies), 4)
    report = {"seeds": len(accuracies), "accuracy": {"mean": mean, "worst": min(accuracies)}}
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(report) + "\n", encoding="utf-8")
    print(f"{target}: {mean:.1%} on average")


main(*sys.argv[1:])
