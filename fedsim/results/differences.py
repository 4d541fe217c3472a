"""Why two runs differ: the first places at which their scenarios, machines and records part."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fedsim.results.files import Record
from fedsim.results.reading import Run
from fedsim.results.store import RunFolder

ABSENT = "–"

_TOLD_ELSEWHERE = ("name", "hash", "seed", "engine", "device", "seconds")
"""Keys of a summary that the scenario and the environment hold, or that are times."""


class Difference(NamedTuple):
    """One value in which two runs differ, as short texts."""

    where: str
    key: str
    left: str
    right: str


def differences(left: Run, right: Run) -> list[Difference]:
    """In what the runs differ: scenario, environment, then the first record that does.

    Where all records are equal, the keys of the summary that differ. Times are left out. Nothing
    differs if the list is empty.
    """
    told = list(_between("scenario", left.scenario, right.scenario))
    told += _between("environment", *(RunFolder(run.path).environment() for run in (left, right)))
    return [*told, *number_differences(left, right)]


def number_differences(left: Run, right: Run) -> list[Difference]:
    """As `differences`, of what was measured alone: records and summary."""
    first = next(_records(left, right), None)
    if first is not None:
        return first
    summaries = [
        {key: value for key, value in run.summary.items() if key not in _TOLD_ELSEWHERE}
        for run in (left, right)
    ]
    return list(_between("summary", *summaries))


def _records(left: Run, right: Run) -> Iterator[list[Difference]]:
    """For each record that differs its keys that do, clients before the round that they make."""
    lines = [{_place(record): record for record in _in_order(run)} for run in (left, right)]
    places = sorted({*lines[0], *lines[1]}, key=lambda place: (place[0], place[1] is None, place))
    for place in places:
        number, client = place
        where = f"round {number}" if client is None else f"round {number}, client {client}"
        mine, other = (_timeless(one.get(place)) for one in lines)
        if found := list(_between(where, mine, other)):
            yield found


def _in_order(run: Run) -> Sequence[Record]:
    return [*run.rounds, *run.clients]


def _place(record: Record) -> tuple[int, int | None]:
    return record["round"], record.get("client")


def _timeless(record: Record | None) -> Record:
    if record is None:
        return {}
    return {key: value for key, value in record.items() if not key.startswith("seconds")}


def _between(where: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Difference]:
    mine, other = dict(_flat(left)), dict(_flat(right))
    for key in dict.fromkeys([*mine, *other]):
        pair = [_text(one[key]) if key in one else ABSENT for one in (mine, other)]
        if pair[0] != pair[1]:
            yield Difference(where, key, *pair)


def _flat(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths to plain values; what is empty is a value."""
    items: Any = ()
    if isinstance(tree, Mapping):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    if not items:
        yield place, tree
        return
    for key, value in items:
        yield from _flat(value, f"{place}.{key}" if place else str(key))


def _text(value: object) -> str:
    """A value that no other has: 1 is not 1.0, nor "1"."""
    return "null" if value is None else repr(value)
