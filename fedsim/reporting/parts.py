"""What a page is made of: sections with drawings, tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedsim.reporting.style import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ids = Iterator[int]


@dataclass(frozen=True)
class Picture:
    """A drawing and what is to be seen on it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Grid:
    """A table as text; the first column names the row."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; empty ones are left out."""

    heading: str
    pictures: list[Picture] = field(default_factory=list)
    grid: Grid | None = None
    sentences: list[str] = field(default_factory=list)


def pictures(ids: Ids, drawing: Figure | None, caption: str) -> list[Picture]:
    """The drawing under its caption; `ids` numbers the drawings of a page apart."""
    if drawing is None:
        return []
    return [Picture(svg(drawing, f"f{next(ids)}", caption.split(". ")[0]), caption)]
