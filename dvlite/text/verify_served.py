"""The words of `verify --served`."""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.commands.verify_served import VerifiedModel, VerifyServedResult
from dvlite.serving.check import UNCHECKED
from dvlite.show import Show, one_line, printable, short_oid
from dvlite.text.style import amount_text


def text(result: VerifyServedResult, show: Show) -> Iterator[str]:
    """Yields a line for each version, and one for each finding."""
    for one in result.models:
        if not show.quiet or one.findings or one.problem:
            yield f"{_verdict(one, show)} {_name(one)}"
        for finding in one.findings:
            yield f"  {one_line(finding.message)}"
        if one.problem:
            yield f"  {one_line(one.problem)}"


def _verdict(one: VerifiedModel, show: Show) -> str:
    if any(finding.kind not in UNCHECKED for finding in one.findings):
        return show.style("red", "changed  ")
    if one.findings:
        return show.style("yellow", "unchecked")
    return show.style("yellow", "not seen ") if not one.bytes_seen else show.style("green", "whole    ")


def _name(one: VerifiedModel) -> str:
    version = f" version {one.version}" if one.version else ""
    digest = f" {short_oid(one.digest)}" if one.digest else ""
    served = " (served)" if one.is_served and one.bytes_seen else ""
    amount = f", {amount_text(one.files, one.size_bytes)}" if one.files else ""
    names = ", ".join(one.models) or printable(one.known_as)
    known = f", {names} in this clone" if one.known == "known" and names else ""
    known = ", not known to this clone" if one.known == "unknown" else known
    return f"{printable(one.model)}{version}{digest}{served}{amount}{known}: {printable(one.place)}"
