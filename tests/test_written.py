"""A function of a notebook as a file: it does the same there, or it is refused."""

import linecache
from pathlib import Path

import pytest
import torch

from fedsim.user_files import load_module
from fedsim.written import as_file

CELLS = '''
import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

SCALE = 2.0
updates = "a global that has the name of an argument"


def halved(rows):
    return rows / math.sqrt(4) if len(rows) < 100 else doubled(rows)


def doubled(rows):
    return halved(rows) * SCALE * 2


def rule(
    updates: Float[Tensor, "n d"], *, factor: Annotated[float, Field(gt=0)] = SCALE
) -> Float[Tensor, " d"]:
    """The mean, doubled and halved again."""
    return torch.stack([doubled(row) for row in updates]).mean(dim=0) * factor


class Box:
    pass


box = Box()


def holding(updates):
    return updates.mean(dim=0) + box.x


def outer():
    def inner(updates):
        return updates.mean(dim=0)

    return inner
'''


@pytest.fixture
def names():
    """What a notebook holds once its cells have run; their source is at hand, in no file."""
    place = "<a cell of a notebook>"
    linecache.cache[place] = (len(CELLS), None, CELLS.splitlines(keepends=True), place)
    held = {"__name__": "__main__"}
    exec(compile(CELLS, place, "exec"), held)
    yield held
    del linecache.cache[place]


def test_it_computes_the_same_in_the_file(names, tmp_path):
    place = as_file(names["rule"], tmp_path / "rules")
    path, _, name = place.rpartition(":")
    written = vars(load_module(Path(path)))[name]
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(written(rows), names["rule"](rows))
    assert torch.equal(written(rows, factor=3.0), names["rule"](rows, factor=3.0))
    assert written.__doc__ == names["rule"].__doc__
    assert "a global that has the name" not in Path(path).read_text()


def test_the_file_is_named_after_what_it_holds(names, tmp_path):
    first = as_file(names["rule"], tmp_path)
    assert as_file(names["rule"], tmp_path) == first
    names["SCALE"] = 5.0
    assert as_file(names["rule"], tmp_path) != first
    assert len(list(tmp_path.iterdir())) == 2


def test_a_function_of_a_file_stays_where_it_is(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def mine(updates):\n    return updates.mean(dim=0)\n")
    function = vars(load_module(path))["mine"]
    assert as_file(function, tmp_path / "rules") == f"{path}:mine"
    assert not (tmp_path / "rules").exists()


def test_what_cannot_be_written_down_is_refused(names, tmp_path):
    with pytest.raises(ValueError, match=r"holding uses 'box', which cannot be written to a file"):
        as_file(names["holding"], tmp_path)
    for nameless in (names["outer"](), lambda updates: updates.mean(dim=0), torch.median):
        with pytest.raises(ValueError, match="must be a function of a module or a notebook"):
            as_file(nameless, tmp_path)
    assert not list(tmp_path.iterdir())
