"""data/raw -> data/prepared: corrects invalid pixels, normalises, splits."""

import json
from pathlib import Path

import numpy as np
import yaml

RAW, PREPARED = Path("data/raw"), Path("data/prepared")
LARGEST = 16.0  # a pixel is 0 to 16


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels (rows x 64, NaN where nothing was written) and digits of all parts, in the order of their names."""
    parts = [np.genfromtxt(path, delimiter=",", skip_header=1) for path in sorted(folder.glob("*.csv"))]
    table = np.concatenate(parts)
    return table[:, 1:], table[:, 0].astype(np.int64)


def main() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["prepare"]
    pixels, digits = read(RAW)

    missing = np.isnan(pixels)
    outside = ~missing & ((pixels < 0) | (pixels > LARGEST))
    pixels[missing | outside] = np.nan

    # Every n-th row is for the test: rows that are added later move no older row to the other side.
    is_test = np.arange(len(digits)) % params["test_every"] == params["test_every"] - 1

    # What fills a gap is learned from the training rows alone: the test must not leak into it.
    fill = {"median": np.nanmedian(pixels[~is_test], axis=0), "zero": np.zeros(pixels.shape[1])}[params["fill"]]
    pixels = np.where(np.isnan(pixels), fill, pixels) / LARGEST

    PREPARED.mkdir(parents=True, exist_ok=True)
    np.savez(PREPARED / "train.npz", x=pixels[~is_test], y=digits[~is_test])
    np.savez(PREPARED / "test.npz", x=pixels[is_test], y=digits[is_test])

    report = {
        "rows": {"train": int((~is_test).sum()), "test": int(is_test.sum())},
        "corrected": {"missing": int(missing.sum()), "outside": int(outside.sum())},
    }
    Path("prepared.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{len(digits)} rows, {missing.sum()} missing and {outside.sum()} impossible pixels corrected")


main()
