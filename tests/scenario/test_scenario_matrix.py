"""The cells of a matrix and what they are called."""

import pytest

from fedsim.scenario import load, sweep_hash
from fedsim.scenario.matrix import texts
from tests.scenario.scenario_texts import MINIMAL, minimal

CLIP = {"name": "clip", "norm": 3.0}
NOISE = {"name": "gaussian_noise", "std": 0.1, "on": "mean"}


def test_row_major_order_as_written():
    cells = load(minimal(matrix={"seed": [3, 1], "rounds": [5, 4]}))
    found = [(cell.scenario.seed, cell.scenario.rounds) for cell in cells]
    assert found == [(3, 5), (3, 4), (1, 5), (1, 4)]
    assert cells[1].labels == {"seed": "3", "rounds": "4"}
    assert all(cell.is_swept for cell in cells)


def test_a_whole_server_and_then_a_part_of_it():
    servers = [{"preaggregators": [CLIP], "postaggregators": [NOISE]}, {"lr": 0.5}]
    cells = load(minimal(matrix={"server": servers, "server.optimizer": [{"name": "momentum"}]}))
    labels = [cell.labels for cell in cells]
    assert labels == [
        {"server": "clip → mean → gaussian_noise", "server.optimizer": "momentum"},
        {"server": "{lr: 0.5}", "server.optimizer": "momentum"},
    ]
    assert [cell.scenario.server.optimizer.name for cell in cells] == ["momentum"] * 2
    assert [cell.scenario.server.lr for cell in cells] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1.5, True, None, "x"], ["0", "1.5", "true", "null", "x"]),
        ([{"name": "mean"}, {"name": "median"}], ["mean", "median"]),
        (
            [{"name": "mean"}, {"name": "krum", "f": 1}, {"name": "krum", "f": 2}],
            ["mean", "krum(f=1)", "krum(f=2)"],
        ),
        ([{"name": "rules/mine.py:best"}], ["best"]),
        ([[{"name": "a"}, {"name": "b"}], []], ["a → b", "[]"]),
        ([{"epochs": 1}, {"epochs": 2}], ["{epochs: 1}", "{epochs: 2}"]),
        (
            [{"aggregator": {"name": "median"}}, {"aggregator": {"name": "median"}, "lr": 2}],
            ["median", "median(lr=2)"],
        ),
        (
            [{"preaggregators": [CLIP]}, {"preaggregators": [{**CLIP, "norm": 1}]}],
            ["clip(norm=3.0) → mean", "clip(norm=1) → mean"],
        ),
        ([1, 1.0, "1"], ["1 #1", "1.0", "1 #3"]),
    ],
)
def test_labels(values, expected):
    assert texts(values) == expected


def test_without_a_matrix_there_is_one_cell():
    for source in (minimal(), minimal(matrix=None), minimal(matrix={})):
        (cell,) = load(source)
        assert cell.labels == {}
        assert not cell.is_swept


def test_a_matrix_from_the_command_line(folder):
    (folder / "a.yaml").write_text(MINIMAL + "matrix: {seed: [0, 1], server.lr: [1.0, 0.1]}")

    def seeds(*overrides):
        return [cell.scenario.seed for cell in load("a.yaml", overrides)]

    assert seeds() == [0, 0, 1, 1]
    assert seeds("matrix.seed=[5]") == [5, 5]
    assert seeds("matrix.seed.1=5") == [0, 0, 5, 5]
    assert seeds("matrix.server.lr=[1.0]") == [0, 1]
    assert seeds("matrix.server.buffers=[keep]", "matrix.server.lr=[0.5]") == [0, 1]
    assert seeds("matrix={seed: [7]}") == [7]
    assert seeds("matrix=null", "seed=9") == [9]


def test_cells_do_not_share_values():
    cells = load(minimal(matrix={"server": [{"lr": 1.0}], "server.lr": [0.5, 0.25]}))
    assert [cell.source.tree["server"]["lr"] for cell in cells] == [0.5, 0.25]


def test_a_problem_inside_a_value_is_placed_there(folder):
    values = "matrix:\n  server:\n    - {lr: 1.0}\n    - lr: 2.0\n      root_data: 5\n"
    (folder / "a.yaml").write_text(MINIMAL + values)
    cells = load("a.yaml")
    assert cells[1].place(("server", "root_data")) == "a.yaml:12:7"
    assert cells[0].place(("server", "root_data")) == "a.yaml:10:7"
    assert cells[1].place(("matrix",)) == "a.yaml:8:1"


def test_names_may_differ_where_numbers_do_not():
    cells = load(minimal(matrix={"name": ["a", "b"]}))
    assert len({cell.scenario.hash8 for cell in cells}) == 1


def test_the_hash_of_a_sweep():
    def digest(*seeds):
        return sweep_hash(load(minimal(matrix={"seed": list(seeds)})))

    assert digest(0, 1) == digest(0, 1)
    assert len({digest(0, 1), digest(1, 0), digest(0, 2), digest(0)}) == 4
    assert len(digest(0)) == 8
