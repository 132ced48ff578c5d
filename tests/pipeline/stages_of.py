"""Stages for the tests of the pipeline: from the text of pipeline files."""

from dvlite.formats import pipeline
from dvlite.pipeline import stages


def stages_of(text, file="dvlite.yaml"):
    """Returns the stages of a pipeline file that says this; a text without `stages:` is a stage for each line."""
    whole = text if text.startswith("stages:") else "stages:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    return stages.bind(file, pipeline.parse(whole.encode(), file).stages)
