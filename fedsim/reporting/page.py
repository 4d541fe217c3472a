"""One self-contained HTML page about runs: no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.reporting.account import account
from fedsim.reporting.after import after_sections
from fedsim.reporting.again import again, made_with
from fedsim.reporting.labels import Group, RunLike, distinct, group, labelled
from fedsim.reporting.measure import facts
from fedsim.reporting.scores import Row, rows
from fedsim.reporting.sections import sections
from fedsim.reporting.table import LEGEND, columns, grid, seeds_note
from fedsim.reporting.words import duration, spans
from fedsim.results import Run, Sweep
from fedsim.results.files import replace_file
from fedsim.results.store import to_yaml

if TYPE_CHECKING:
    from jinja2 import Environment

NAMED = 8
"""So many runs are named beside the flag that they share."""


def report(source: Run | Sweep | Sequence[Run | Sweep], output: Path, question: str = "") -> Path:
    """Write the page about runs and sweeps to `output`; the path of the page.

    `question` is what the scenario asks: the first comment line of its file.
    """
    sources = list(source) if isinstance(source, Sequence) else [source]
    runs = [run for one in sources for run in (one.runs if isinstance(one, Sweep) else [one])]
    missing = [line for one in sources if isinstance(one, Sweep) for line in _missing(one)]
    names = [one.name if isinstance(one, Sweep) else one.summary["name"] for one in sources]
    title = " / ".join(dict.fromkeys(names))
    sweeps = [one for one in sources if isinstance(one, Sweep)]
    page = html(runs, title, question, missing, sweeps)
    replace_file(Path(output), page.encode(errors="replace"))
    return Path(output)


def html(
    runs: RunLike | Sequence[RunLike],
    title: str,
    question: str = "",
    missing: Sequence[str] = (),
    sweeps: Sequence[Sweep] = (),
) -> str:
    """The page as text. `missing` are sentences on cells that have no numbers.

    `sweeps` are those that `runs` are cells of: the page shows how to run them whole.
    """
    every = distinct(runs if isinstance(runs, Sequence) else [runs])
    groups = group(every)
    scored = rows([(label, run.summary) for label, run in zip(labelled(every), every, strict=True)])
    return environment().get_template("report.html.j2").render(
        title=title,
        question=question.strip().lstrip("#").strip(),
        facts=_facts(every),
        account=account(every, scored),
        scores=_scores(scored),
        flags=_flags(groups),
        missing=list(missing),
        sections=[*sections(every, groups), *after_sections(groups)] if every else [],
        certified=_certified(groups),
        environment=made_with(every),
        again=again(every, groups, sweeps),
    )  # fmt: skip


@cache
def environment() -> Environment:
    """The templates; whatever comes from outside is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("fedsim.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _scores(scored: Sequence[Row]) -> dict[str, Any]:
    header, body = grid(scored)
    shown = columns(scored)
    names = len({key for row in scored for key in row.labels})
    return {
        "header": header,
        "body": body,
        "names": names,
        "notes": [
            text
            for key, text in LEGEND.items()
            if key in shown and any(row.scores.get(key) for row in scored)
        ]
        + ([seeds_note(scored)] if scored else []),
    }


def _facts(runs: Sequence[RunLike]) -> dict[str, str]:
    """What holds for all runs; a fact in which they differ stands in the table."""
    every = [facts(run.scenario) for run in runs]
    if not every:
        return {}
    shared = {k: v for k, v in every[0].items() if all(other.get(k) == v for other in every)}
    seconds = sum(run.summary.get("seconds") or 0.0 for run in runs)
    return {**shared, "runs": str(len(runs)), "time": duration(seconds)}


def _flags(groups: Sequence[Group]) -> list[dict[str, str]]:
    """A sentence for each flag; the same sentence of several runs stands once."""
    raised: dict[str, list[str]] = {}
    for one in groups:
        for run in one.runs:
            who = one.text if len(groups) > 1 else ""
            who += f"{', ' if who else ''}seed {run.summary['seed']}" if len(one.runs) > 1 else ""
            for flag in run.summary.get("flags") or []:
                where = f" Rounds: {spans(flag['rounds'])}." if flag.get("rounds") else ""
                raised.setdefault(flag["text"] + where, []).append(who)
    return [
        {
            "text": text,
            "who": "; ".join(filter(None, who)) if len(who) <= NAMED else f"{len(who)} runs",
        }
        for text, who in raised.items()
    ]


def _certified(groups: Sequence[Group]) -> list[tuple[str, str]]:
    return [
        (one.text, to_yaml(certified) if isinstance(certified, Mapping) else str(certified))
        for one in groups
        if (certified := one.runs[0].summary.get("certified")) is not None
    ]


def _missing(sweep: Sweep) -> list[str]:
    """A sentence for each cell without numbers."""
    return [
        f"{cell['run']}: {cell['status']}" + (f" ({cell['error']})" if cell.get("error") else "")
        for cell in sweep.cells
        if cell["status"] != "finished"
    ]
