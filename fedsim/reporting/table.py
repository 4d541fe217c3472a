"""The score table: for the terminal, for a Markdown page, for a paper and as raw numbers."""

from __future__ import annotations

import csv as csv_format
from collections.abc import Mapping, Sequence
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from fedsim.reporting.scores import Entry, Row, rows
from fedsim.reporting.spelling import short_key
from fedsim.reporting.story import story
from fedsim.reporting.words import flag_words, percent

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = {
    "accuracy": "accuracy %",
    "attack_success_rate": "ASR %",
    "twin_success": "ASR clean %",
    "robust_accuracy": "robust %",
    "accuracy_drop": "drop",
    "cost": "cost",
    "recall": "recall %",
    "false_positive_rate": "FPR %",
}
"""The score columns in their order; all but the first two stand only where something applies."""

ALWAYS = ("accuracy", "attack_success_rate")

EXPENDABLE = (
    "robust_accuracy", "twin_success", "false_positive_rate", "recall", "accuracy_drop", "cost",
)  # fmt: skip
"""What a narrow terminal goes without, in this order."""

LABEL = 24
"""A longer word is folded."""

LEGEND = {
    "attack_success_rate": "ASR: attack success rate on the test set, after the last round.",
    "twin_success": "ASR clean: the same measure on the clean twin, where nobody attacks.",
    "robust_accuracy": "robust: triggered test images still classified right.",
    "accuracy_drop": "drop: points of accuracy lost to the attack against the clean twin.",
    "cost": "cost: points of accuracy the rule loses when nobody attacks, against the plain mean "
    "(or, without one, the most accurate rule).",
    "recall": "recall: attacking updates given weight zero.",
    "false_positive_rate": "FPR: benign updates given weight zero.",
}


TEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
}


def table(entries: Sequence[Entry], width: int | None = None) -> Table:
    """The scores of (labels, summary) pairs, a row for each set of labels, seeds averaged.

    Columns that do not fit into `width` (by default the terminal's, 160 without one) are left out,
    and the caption says which; numbers are never cut.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    scored = rows(entries)
    room = width or get_terminal_size((160, 24)).columns
    shown, left_out = _fitting(scored, room)
    header, body = grid(scored, shown)
    told = f"No room here for: {', '.join(left_out)}." if left_out else ""
    result = Table(
        box=box.SIMPLE_HEAD,
        caption=Text("\n".join(filter(None, [_sentences(scored, told), _legend(scored)]))),
        caption_justify="left",
        caption_style="",
        padding=(0, 1, 0, 0),
    )
    texts = _text_columns(header, len(_label_keys(scored)))
    for title, is_text, size in zip(header, texts, _widths(header, body, room), strict=True):
        result.add_column(
            Text(title if is_text else title.replace(" ", "\n")),
            justify="left" if is_text else "right",
            width=size,
            overflow="fold",
        )
    for line in body:
        result.add_row(*(Text(cell.replace("± ", "±")) for cell in line))
    return result


def _sentences(scored: Sequence[Row], told: str) -> str:
    return " ".join(filter(None, [story(scored), seeds_note(scored), told]))


def _legend(scored: Sequence[Row]) -> str:
    """What the columns that are shown mean."""
    return " ".join(LEGEND[key] for key in columns(scored) if key in LEGEND)


def plain(entries: Sequence[Entry], width: int = 160) -> str:
    """The table as plain text: what a pipe or a log file gets."""
    from rich.console import Console

    sheet = Console(file=StringIO(), width=width, color_system=None, force_terminal=False)
    with sheet.capture() as capture:
        sheet.print(table(entries, width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n") + "\n"


def _fitting(scored: Sequence[Row], room: int) -> tuple[dict[str, str], list[str]]:
    """The columns that fit, and the titles of those that do not, the least needed first."""
    shown, left_out = columns(scored), []
    for key in EXPENDABLE:
        if sum(_least(*grid(scored, shown))) <= room - _between(len(grid(scored, shown)[0])):
            break
        if key in shown:
            left_out.append(shown.pop(key))
    return shown, left_out


def _between(columns: int) -> int:
    """Characters that stand between and around the columns."""
    return 2 * columns + 1


def _least(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[int]:
    """The width each column needs: that of a word, a number, or ± and its number."""
    return [
        min(LABEL, max(len(w) for c in column for w in _words(c)))
        for column in _cells(header, body)
    ]


def _widths(header: Sequence[str], body: Sequence[Sequence[str]], room: int) -> list[int]:
    """The widths of the columns: cells on one line where there is room, else folded."""
    least = _least(header, body)
    titles = [max(map(len, title.split())) for title in header]
    whole = [
        max(least[i], titles[i], *(len(cell.replace("± ", "±")) for cell in column[1:]), 0)
        for i, column in enumerate(_cells(header, body))
    ]
    while sum(whole) > room - _between(len(header)) and whole != least:
        widest = max(range(len(whole)), key=lambda i: whole[i] - least[i])
        whole[widest] -= 1
    return whole


def _cells(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[list[str]]:
    """The columns, each with its title first."""
    return [[title, *(line[i] for line in body)] for i, title in enumerate(header)]


def _words(cell: str) -> list[str]:
    return cell.replace("± ", "±").split() or [""]


def markdown(entries: Sequence[Entry]) -> str:
    """The same as a Markdown table with its sentence below."""
    scored = rows(entries)
    header, body = grid(scored)
    texts = _text_columns(header, len(_label_keys(scored)))
    sentence = " ".join(filter(None, [story(scored), seeds_note(scored)]))
    return markdown_table(header, body, texts) + (f"\n{sentence}\n" if sentence else "")


def markdown_table(
    header: Sequence[str], body: Sequence[Sequence[str]], texts: Sequence[bool]
) -> str:
    """Cells as a Markdown table; columns of `texts` stand to the left."""
    rule = ["---" if is_text else "---:" for is_text in texts]
    lines = ["| " + " | ".join(map(_escaped, line)) + " |\n" for line in (header, rule, *body)]
    return "".join(lines)


def latex(entries: Sequence[Entry]) -> str:
    """The same as a LaTeX tabular (needs the booktabs package)."""
    scored = rows(entries)
    header, body = grid(scored)
    return latex_table(header, body, _text_columns(header, len(_label_keys(scored))))


def latex_table(header: Sequence[str], body: Sequence[Sequence[str]], texts: Sequence[bool]) -> str:
    """Cells as a LaTeX tabular; columns of `texts` stand to the left."""
    columns = "".join("l" if is_text else "r" for is_text in texts)
    lines = [" & ".join(map(_tex, line)) + r" \\" for line in (header, *body)]
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:],
         r"\bottomrule", r"\end{tabular}", ""]
    )  # fmt: skip


def csv(entries: Sequence[Entry]) -> str:
    """The numbers themselves, shares in [0, 1]: labels, seeds, then mean and half interval."""
    scored = rows(entries)
    keys = _label_keys(scored)
    sheet = StringIO()
    writer = csv_format.writer(sheet, lineterminator="\n")
    halves = [f"{key}_{part}" for key in COLUMNS for part in ("mean", "half_interval")]
    writer.writerow([*keys, "seeds", *halves, "flags"])
    for row in scored:
        numbers = [n for key in COLUMNS for n in (row.scores.get(key) or (None, None))[:2]]
        writer.writerow(
            [*(row.labels.get(key, "") for key in keys), row.seeds, *numbers, " ".join(row.flags)]
        )
    return sheet.getvalue()


def grid(
    scored: Sequence[Row], shown: Mapping[str, str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Header and cells as text; columns that apply to no row are left out."""
    keys = _label_keys(scored)
    shown = columns(scored) if shown is None else shown
    seeds = any(row.seeds > 1 for row in scored)
    flags = any(row.flags for row in scored)
    header = [*_titles(keys), *(["seeds"] if seeds else []), *shown.values()]
    body = [
        [row.labels.get(key, "–") for key in keys]
        + ([str(row.seeds)] if seeds else [])
        + [percent(row.scores.get(key)) for key in shown]
        + ([flag_words(row.flags, row.seeds)] if flags else [])
        for row in scored
    ]
    return header + (["flags"] if flags else []), body


def columns(scored: Sequence[Row]) -> dict[str, str]:
    """The score columns in which some row has a number."""
    return {
        key: title
        for key, title in COLUMNS.items()
        if key in ALWAYS or any(row.scores.get(key) is not None for row in scored)
    }


def seeds_note(scored: Sequence[Row]) -> str:
    """How many runs stand behind a number."""
    counts = {row.seeds for row in scored}
    if not counts:
        return ""
    if counts == {1}:
        return "One seed: no interval."
    least, most = min(counts), max(counts)
    many = f"{most}" if least == most else f"{least} to {most}"
    return f"± is the 95 % interval of the mean over {many} seeds."


def _label_keys(scored: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in scored for key in row.labels))


def _text_columns(header: Sequence[str], labels: int) -> list[bool]:
    """Which columns hold words: the labels and the flags."""
    return [i < labels or title == "flags" for i, title in enumerate(header)]


def _titles(keys: Sequence[str]) -> list[str]:
    short = [short_key(key) for key in keys]
    return [key if short.count(s) > 1 else s for key, s in zip(keys, short, strict=True)]


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _tex(cell: str) -> str:
    return "".join(TEX.get(character, character) for character in cell)
