"""How every figure looks: colours, type, labels beside the lines, and SVG for a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BENIGN = "#0072B2"
MALICIOUS = "#D55E00"
DORMANT = "#8C8C8C"
"""Those of the adversary's clients that do not attack in the round."""

CYCLE = ("#000000", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#D55E00")
"""Okabe and Ito's colours without the yellow, which is lost on white paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SOLID, DASHED, DOTTED = "-", (0, (4, 1.8)), (0, (1, 1.6))
GRID, SHADE, INK, FAINT = "#DDDDDD", "#F6EEDD", "#222222", "#777777"
WIDTH = 7.0
"""Inches: the text width of a page."""

FONTS = '"DejaVu Sans", Verdana, sans-serif'
"""Verdana is as wide as the font that the layout was measured with."""

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "figure.constrained_layout.w_pad": 0.08,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "text.color": INK,
    "lines.linewidth": 1.4,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "path.simplify_threshold": 0.4,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "fedsim",
    "svg.id": None,
    "mathtext.default": "regular",
    "text.parse_math": False,
    "text.hinting": "no_hinting",
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


def role(row: Mapping[str, Any]) -> str:
    """What a client was in a round: `acting`, `dormant` (malicious, not attacking) or `benign`."""
    if row["acting"]:
        return "acting"
    return "dormant" if row["malicious"] else "benign"


ROLES = {"benign": BENIGN, "acting": MALICIOUS, "dormant": DORMANT}


@contextmanager
def styled() -> Iterator[None]:
    """The settings in force while a figure is drawn; nothing stays behind."""
    import matplotlib as mpl

    default = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")}
    settings: Any = default | _RC
    with mpl.rc_context(settings), catch_warnings():
        # a name may hold letters that the font of the layout lacks; the reader's has them
        filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        yield


def sheet(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of its own: no global state, nothing to close."""
    from fedsim.reporting.drawing import Drawing

    return Drawing(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write the figure as SVG, PDF or PNG, as the name ends; the same bytes every time."""
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with styled():
        figure.savefig(path, metadata=dated.get(path.suffix.lower()))


def svg(figure: Figure, prefix: str | None = None, title: str = "") -> str:
    """The figure as an SVG element for a page: text as text, the same bytes every time.

    Ids carry `prefix` (by default a hash of the drawing), so that many SVGs share one page.
    """
    drawing = BytesIO()
    with styled():
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    text = _small(drawing.getvalue().decode())
    prefix = prefix or "f" + sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = text.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    spoken = f' role="img" aria-label="{escape(title)}"' if title else ' role="img"'
    text = re.sub(r'(width|height)="([\d.]+)pt"', _enlarged, text, count=2)
    return text.replace("<svg", f"<svg{spoken} style='font-family: {FONTS}'", 1)


def _enlarged(size: re.Match[str]) -> str:
    """The size on the page, where type is larger than in print."""
    return f'{size[1]}="{float(size[2]) * 1.6:.0f}"'


def _small(text: str) -> str:
    """The SVG element alone, without metadata and whatever takes bytes and shows nothing."""
    text = text[text.index("<svg") :].rstrip() + "\n"
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = text.replace("xlink:href=", "href=").replace("base64,\n", "base64,")
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)
    text = re.sub(r"\n +", "\n", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*?(?=;|\")", r"font-size: \1", text)
    text = re.sub(r'style="[^"]*"', lambda style: re.sub(r"([:;]) ", r"\1", style[0]), text)
    return re.sub(r' d="[^"]*"', _rounded, text)


def _rounded(path: re.Match[str]) -> str:
    """A path to a hundredth of a point, a long one to a tenth: the picture stays the same."""
    digits = 1 if len(path[0]) > 400 else 2
    short = re.sub(r"-?\d+\.\d{2,}", lambda n: f"{float(n[0]):.{digits}f}", path[0])
    return re.sub(r"\s*\n\s*", " ", short)


def shorten(text: str, width: int, lines: int = 3) -> str:
    r"""`text` wrapped to `width`, with … where more than `lines` lines would be needed.

    >>> shorten("bucketing → trimmed_mean", 16)
    'bucketing →\ntrimmed_mean'
    """
    parts = [""]
    for piece in re.findall(rf"[^\s_,=(/]{{1,{width}}}[_,=(/]?\s*|.", text):
        if len((parts[-1] + piece).rstrip()) > width and parts[-1]:
            parts.append("")
        parts[-1] += piece
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1][: width - 1].rstrip() + "…"]
    return "\n".join(part.rstrip() for part in parts)


def spread(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Positions in [0, 1] near `wanted`, at which intervals of `sizes` do not overlap."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))
    placed = list(wanted)
    floor = float("-inf")
    for i in order:
        placed[i] = max(placed[i], floor + sizes[i] / 2)
        floor = placed[i] + sizes[i] / 2
    ceiling = max(1.0, sum(sizes))
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling - sizes[i] / 2)
        ceiling = placed[i] - sizes[i] / 2
    return placed


def name_lines(axes: Axes, ends: Sequence[tuple[str, float, str]], height: float) -> None:
    """Write each line's name to the right of the axes, level with its end, none overlapping.

    `ends` holds (name, last value in data units, colour); `height` is that of the axes in inches.
    """
    low, high = axes.get_ylim()
    texts = [shorten(name, 26) for name, _, _ in ends]
    sizes = [(1.3 * 7.5 * (text.count("\n") + 1)) / (72 * height) for text in texts]
    wanted = [(value - low) / (high - low) for _, value, _ in ends]
    for (_, _, colour), text, level, place in zip(
        ends, texts, wanted, spread(wanted, sizes), strict=True
    ):
        axes.plot(
            [1.005, 1.03, 1.045], [level, place, place], color=colour, linewidth=1.0,
            transform=axes.transAxes, clip_on=False, scalex=False, scaley=False,
        )  # fmt: skip
        axes.text(
            1.055, place, text, transform=axes.transAxes, va="center", fontsize=7.5, color=INK
        )


def rounds_axis(axes: Axes, first: int, last: int, label: bool = True, ticks: int = 8) -> None:
    """A horizontal axis of whole rounds."""
    from matplotlib.ticker import MaxNLocator

    pad = max(0.02 * (last - first), 0.15)
    axes.set_xlim(first - pad, last + pad)
    whole = MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axes.xaxis.set_major_locator(whole)
    if label:
        axes.set_xlabel("round")


def grid(axes: Axes) -> None:
    """Light horizontal lines behind the data."""
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)


def finished(figure: Figure, handles: Mapping[str, Any] | None = None) -> Figure:
    """The figure with a legend above all panels, where it hides nothing, and its layout fixed.

    Solving the layout again at every drawing would move things by fractions of a point.
    """
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper left",
            ncols=_columns(list(handles), figure.get_figwidth()), handlelength=2.2,
            columnspacing=1.6, borderaxespad=0.2,
        )  # fmt: skip
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _columns(texts: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into `width` inches; the first ones take the rest."""
    for columns in range(min(5, len(texts)), 1, -1):
        size, rest = divmod(len(texts), columns)
        starts = [i * size + min(i, rest) for i in range(columns + 1)]
        longest = [max(map(len, texts[i:j])) for i, j in pairwise(starts)]
        if sum(0.066 * letters + 0.5 for letters in longest) < width:
            return columns
    return 1
