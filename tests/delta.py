"""Delta tables written by hand: a log in JSON, and data files that are any bytes. The real client is asked in the long tests."""

import json
from pathlib import Path
from urllib.parse import quote

SCHEMA = (("id", "long"), ("city", "string"))


def schema_text(columns=SCHEMA):
    fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in columns]
    return json.dumps({"type": "struct", "fields": fields})


def add_action(name, rows, size_bytes, **more):
    stats = {} if rows is None else {"stats": json.dumps({"numRecords": rows})}
    return {"add": {"path": name, "size": size_bytes, "dataChange": True, **stats, **more}}


class DeltaTable:
    """A table in a folder; each call is a commit."""

    def __init__(self, folder):
        self.folder, self.version = Path(folder), -1
        (self.folder / "_delta_log").mkdir(parents=True, exist_ok=True)
        self.commit({"metaData": {"schemaString": schema_text()}}, operation="CREATE TABLE")

    def append(self, name, rows=1, data=None):
        content = name.encode() if data is None else data
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        self.commit(
            add_action(quote(name), rows, len(content)), operation="WRITE", operationParameters={"mode": "Append"}
        )
        return self

    def replace(self, old, new, rows, *, operation="DELETE", **metrics):
        """Writes a file again without some of its rows."""
        (self.folder / new).write_bytes(new.encode())
        removed = {"remove": {"path": old, "dataChange": True}}
        self.commit(removed, add_action(new, rows, len(new)), operation=operation, operationMetrics=metrics)
        return self

    def commit(self, *actions, **information):
        self.version += 1
        lines = [*actions, {"commitInfo": {"timestamp": 1_790_000_000_000 + 60_000 * self.version, **information}}]
        self.log(self.version).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return self

    def log(self, version):
        return self.folder / "_delta_log" / f"{version:020}.json"
