"""What people look at: the score table, figures, and one self-contained page."""

from fedsim.reporting.crossing import cross, crossed
from fedsim.reporting.figures import figure
from fedsim.reporting.heatmap import heatmap
from fedsim.reporting.page import html, report
from fedsim.reporting.preview import preview_figure, preview_html
from fedsim.reporting.story import story
from fedsim.reporting.style import save, svg
from fedsim.reporting.table import csv, latex, markdown, plain, table

__all__ = [
    "cross",
    "crossed",
    "csv",
    "figure",
    "heatmap",
    "html",
    "latex",
    "markdown",
    "plain",
    "preview_figure",
    "preview_html",
    "report",
    "save",
    "story",
    "svg",
    "table",
]
