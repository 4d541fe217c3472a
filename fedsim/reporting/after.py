"""What checks on finished models found, as tables and pictures."""

from collections.abc import Mapping
from typing import Any

from fedsim.reporting.words import NULL, percent

COLUMNS = (
    *("check", "verdict", "score", "threshold", "target"),
    *("accuracy %", "after", "ASR %", "after", "caught %", "clean lost %", "seconds"),
)
"""The columns of the table of checks."""


def cells(record: Mapping[str, Any]) -> list[str]:
    """An entry of `summary.after` as the texts of a row."""
    verdict, caught = record["verdict"] or {}, record["caught"] or {}
    before, after = record["before"], record["after"] or {}
    said = {None: NULL, True: "backdoored", False: "clean"}[verdict.get("backdoored")]
    return [
        record["name"],
        said,
        *(_number(verdict.get(key)) for key in ("score", "threshold")),
        NULL if verdict.get("target") is None else str(verdict["target"]),
        percent(before["accuracy"]),
        percent(after.get("accuracy")),
        percent(before["attack_success_rate"]),
        percent(after.get("attack_success_rate")),
        percent(caught.get("triggered")),
        percent(caught.get("clean")),
        f"{record['seconds']:.1f}",
    ]


def _number(value: float | None) -> str:
    return NULL if value is None else f"{value:.3g}"
