"""Where updates stand in two dimensions, checked against scikit-learn, and of which round."""

import json

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import fedsim
from fedsim.scenario import load
from fedsim.simulation import Cohort, Reply, draw_cohort
from fedsim.simulation import projection as module
from fedsim.simulation.projection import is_pictured, picture, project
from fedsim.types import Aggregate

TREE = {
    "name": "small",
    "rounds": 6,
    "model": {"name": "mlp", "hidden": [4]},
    "clients": {"total": 8, "per_round": 4, "training": {"lr": 0.1, "batch_size": 64}},
    "engine": {"device": "cpu"},
}
ATTACK = {"clients": 2, "attack": {"name": "sign_flip"}}


def cloud(n=9, d=37, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 3


def test_the_same_plane_as_scikit_learn(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 40)  # many pieces
    rows, others = cloud(), cloud(3, seed=1)
    places, marks, explained = project(list(rows), list(others))
    known = PCA(2, svd_solver="full").fit(rows.double().numpy())
    turned = np.sign(known.transform(rows.double()) / np.array(places))
    assert (turned == turned[0]).all()
    assert np.array(places) * turned[0] == pytest.approx(known.transform(rows.double()), rel=1e-4)
    assert np.array(marks) * turned[0] == pytest.approx(known.transform(others.double()), rel=1e-4)
    assert explained == pytest.approx(known.explained_variance_ratio_)


@pytest.mark.parametrize("seed", range(5))
def test_the_farthest_row_is_on_the_positive_side(seed):
    rows = cloud(seed=seed)
    for sign in (1, -1):
        places = np.array(project(list(sign * rows), [rows[0]])[0])
        farthest = abs(places).argmax(axis=0)
        assert (places[farthest, [0, 1]] > 0).all()


def test_the_mean_is_in_the_middle_and_rows_lie_where_they_are():
    rows = cloud()
    places, (middle, fourth), _ = project(list(rows), [rows.mean(dim=0), rows[3]])
    assert middle == pytest.approx((0, 0), abs=1e-5)
    assert fourth == pytest.approx(places[3], rel=1e-4)


@pytest.mark.parametrize("rows", [torch.ones(1, 5), torch.ones(4, 5), torch.zeros(2, 5)])
def test_rows_that_do_not_differ_stand_in_one_place(rows):
    places, _, explained = project(list(rows), [rows[0]])
    assert set(places) == {(0.0, 0.0)}
    assert explained == (0, 0)


def test_two_rows_lie_on_a_line():
    places, _, explained = project([torch.zeros(4), torch.ones(4)], [torch.zeros(4)])
    assert sorted(places) == [(pytest.approx(-1), 0), (pytest.approx(1), 0)]
    assert explained == (pytest.approx(1), 0)


def test_huge_rows_do_not_overflow():
    places, _, explained = project(list(1e30 * cloud()), [torch.zeros(37)])
    assert np.isfinite(places).all()
    assert 0 < explained[1] <= explained[0] < 1


def replies(rows):
    return [Reply(10 + i, row, torch.empty(0), 5, 0.1) for i, row in enumerate(rows)]


def test_what_is_told_of_a_round():
    rows = cloud(3)
    cohort = Cohort(4, (10, 11, 12, 13), frozenset({11, 12}), frozenset({12}))
    told = picture(cohort, replies(rows), Aggregate(rows[0], torch.tensor([1.0, 0.0, 0.0]), {}))
    assert told["round"] == 4
    assert told["aggregate"] == pytest.approx(told["clients"][0]["at"], rel=1e-4)
    assert [(c["client"], c["malicious"], c["acting"], c["weight"]) for c in told["clients"]] == [
        (10, False, False, 1.0), (11, True, False, 0.0), (12, True, True, 0.0),
    ]  # fmt: skip
    assert picture(cohort, replies(rows), None)["aggregate"] is None
    assert picture(cohort, replies(rows), None)["clients"][0]["weight"] is None
    assert picture(cohort, [], None) is None


@pytest.mark.parametrize(
    "adversary",
    [
        None,
        {**ATTACK, "clients": 0},
        ATTACK,
        {**ATTACK, "schedule": {"last": 3}},
        {**ATTACK, "clients": 1, "schedule": {"rounds": [2, 5]}},
        {**ATTACK, "schedule": {"rounds": [1], "forced": True}},
        {**ATTACK, "clients": 1, "schedule": {"first": 5}},
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_round_is_pictured_the_last_with_an_attack(adversary, seed):
    scenario = load({**TREE, "seed": seed, "adversary": adversary})[0].scenario
    pictured = [r for r in range(1, 7) if is_pictured(scenario, r)]
    attacked = [r for r in range(1, 7) if draw_cohort(scenario, r).acting]
    assert pictured == (attacked or [6])[-1:]


def test_a_run_leaves_the_picture_with_the_weights_of_its_records(tmp_path):
    tree = {**TREE, "rounds": 3, "adversary": {**ATTACK, "schedule": {"rounds": [2], "forced": True}},
            "server": {"aggregator": {"name": "multi_krum", "num_byzantine": 0}}}  # fmt: skip
    run = fedsim.run(tree, output=tmp_path)
    told = json.loads((run.path / "updates.json").read_text())
    keys = ("client", "malicious", "acting", "weight")
    rows = [row for row in run.clients if row["round"] == 2]
    assert told["round"] == 2
    assert [[one[k] for k in keys] for one in told["clients"]] == [
        [r[k] for k in keys] for r in rows
    ]
    assert sum(one["acting"] for one in told["clients"]) == 2
