"""From a file, a mapping or a scenario to checked cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, ValidationError

from fedsim.errors import ScenarioError
from fedsim.scenario import identity
from fedsim.scenario.documents import Document, document, told
from fedsim.scenario.matrix import expand
from fedsim.scenario.overrides import Overrides, override
from fedsim.scenario.schema import Scenario
from fedsim.scenario.wording import first_problem
from fedsim.scenario.yaml12 import Where


@dataclass(frozen=True)
class Cell:
    """One scenario to run; `labels` tell it from the other cells of its matrix."""

    scenario: Scenario
    labels: dict[str, str]
    source: Document

    @property
    def is_swept(self) -> bool:
        """Whether the scenario has a matrix, be it of one cell."""
        return bool(self.labels)

    def place(self, where: Where) -> str:
        """Where the key `where` stands: `file:line:column`, `--set key=value` or `scenario`."""
        return self.source.place(where)

    def error(self, where: Where, text: str) -> ScenarioError:
        """The error `text`, placed at the key `where` of the user's scenario."""
        return self.source.error(where, text)


def load(
    source: Path | str | Mapping[str, Any] | Scenario | Document, overrides: Overrides = ()
) -> list[Cell]:
    """The cells of a scenario, one if it has no matrix, in row-major order of the matrix.

    Raises: ScenarioError, one line `PLACE: where: what is wrong. fix`, for the first problem.
    """
    raw = override(document(source), overrides)
    cells = [Cell(_checked(cell, raw, labels), labels, cell) for cell, labels in expand(raw)]
    _distinct(cells, raw)
    return cells


def sweep_hash(cells: Sequence[Cell]) -> str:
    """Eight hex digits that change with whatever can change a number of any cell."""
    return identity.sweep_hash(cell.scenario.hash8 for cell in cells)


def _checked(cell: Document, raw: Document, labels: Mapping[str, str]) -> Scenario:
    try:
        return Scenario.model_validate(cell.tree, context={"folder": cell.folder})
    except ValidationError as error:
        problems = error.errors(include_url=False)
    except (OSError, NameError, PydanticUserError) as error:
        what = f"names a file that cannot be used: {str(error).splitlines()[0]}."
        raise told(cell.place(()), (), what) from None
    where, text = first_problem(problems, cell)
    for key in labels:
        path = tuple(key.split("."))
        if problems[0]["type"] == "unknown_key" and path[: len(where)] == where != raw.where(where):
            what = f"names nothing: '{where[-1]}' is an {text}"
            raise raw.error(("matrix", key), what)
    raise told(cell.place(where), where, text)


def _distinct(cells: list[Cell], raw: Document) -> None:
    """Two cells of the same name and numbers would share a run folder."""
    seen: dict[tuple[str, str], int] = {}
    for k, cell in enumerate(cells):
        run = (cell.scenario.name, cell.scenario.hash8)
        if run in seen:
            what = f"makes cells {seen[run] + 1} and {k + 1} the same run. Keep one of them."
            raise raw.error(("matrix",), what)
        seen[run] = k
