"""What outside programs say of manifests: a report as JSON. Run by a Python that has kubernetes-validate, kubernetes and PyYAML: judge_k8s.py FILE.

For each document: what the strict JSON schemas refuse, and whether the official client's models give back what they were given (they drop
fields that they do not know without a word, so both sides are compared).
"""

import json
import sys

import kubernetes_validate
import yaml
from kubernetes import client

VERSION = "1.32"
KINDS = {"Job": "V1Job", "CronJob": "V1CronJob"}


class Response:
    def __init__(self, document):
        self.data = json.dumps(document)


def round_trip(document):
    api = client.ApiClient()
    kind = KINDS[document["kind"]]
    try:
        found = api.deserialize(Response(document), kind)
    except TypeError:  # other versions take the text
        found = api.deserialize(json.dumps(document), kind, "application/json")
    return api.sanitize_for_serialization(found)


def judged(document):
    report = {"kind": document["kind"], "name": document["metadata"]["name"], "refused": ""}
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        report["refused"] = f"{'/'.join(map(str, error.path))}: {error.message[:200]}"
    try:
        report["same"] = round_trip(document) == document
    except ValueError as error:
        report["same"] = False
        report["refused"] = report["refused"] or str(error)[:200]
    return report


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.dumps([judged(document) for document in yaml.safe_load_all(file)]))
