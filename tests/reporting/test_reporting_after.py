"""The section on checks after training."""

import json
from itertools import pairwise

import pytest
import torch

from fedsim.errors import InputError
from fedsim.reporting.after import after_sections, cells, roc
from fedsim.reporting.labels import group
from fedsim.reporting.page import html
from fedsim.results.after import write_after
from tests.reporting.reporting_records import run
from tests.results.result_records import write_run


def scores(accuracy, asr):
    return {"accuracy": accuracy, "attack_success_rate": asr}


def inspected(score, target=2, name="neural_cleanse"):
    verdict = {"backdoored": score > 2, "score": score, "threshold": 2.0, "target": target}
    return {
        "name": name,
        "kind": "inspections",
        "before": scores(0.9, 1.0),
        "after": None,
        "verdict": verdict,
        "caught": None,
        "seconds": 1.5,
    }


def repaired(accuracy, asr):
    other = {"name": "pruning", "kind": "repairs", "verdict": None, "after": scores(accuracy, asr)}
    return {**inspected(3.0), **other}


def filtered(triggered, clean):
    caught = {"triggered": triggered, "clean": clean}
    return {**repaired(0.8, 0.1), "name": "median_filter", "kind": "filters", "caught": caught}


def checked(*entries, root="runs", **keys):
    one = run(root=root, **keys)
    one.summary["after"] = list(entries)
    return one


def test_a_row_of_one_run():
    assert cells([inspected(3.25)]) == [
        *("neural_cleanse", "backdoored", "3.25", "2", "2"),
        *("90.0", "–", "100.0", "–", "–", "–", "1.5"),
    ]
    assert cells([repaired(0.85, 0.05)])[5:] == [
        *("90.0", "85.0", "100.0", "5.0", "–", "–", "1.5"),
    ]
    assert cells([filtered(0.75, 0.02)])[9:11] == ["75.0", "2.0"]


def test_a_row_of_several_seeds():
    row = cells([inspected(3.0), inspected(1.0, target=None), inspected(2.0, target=7)])
    assert row[:5] == ["neural_cleanse", "backdoored in 1 of 3", "2", "2", "2, 7"]


def test_nobody_checked_so_nothing_is_said():
    assert after_sections(group([run()])) == []


def test_seeds_share_a_row_and_twins_have_their_own(tmp_path):
    runs = [checked(inspected(3.0), repaired(0.8, 0.2), root=tmp_path, seed=s) for s in (0, 1)]
    for k, one in enumerate(runs):
        folder = write_run(tmp_path / f"demo-0000000{k}")
        summary = {**folder.summary(), "after": [inspected(1.0 + k, None)]}
        (folder.path / "summary.json").write_text(json.dumps(summary))
        one.summary["clean_twin"]["hash"] = f"0000000{k}"
    (section,) = after_sections(group(runs))
    told = [row[:4] for row in section.grid.rows]
    assert told == [
        ["demo", "neural_cleanse", "backdoored in 2 of 2", "3"],
        ["demo", "pruning", "–", "–"],
        ["demo, clean twin", "neural_cleanse", "backdoored in 0 of 2", "1.5"],
    ]
    assert len(section.pictures) == 1
    assert "2 attacked and 2 clean models" in section.pictures[0].caption
    assert "neural_cleanse, area 1.00" in section.pictures[0].svg


def test_columns_with_nothing_are_left_out():
    (section,) = after_sections(group([checked(inspected(3.0))]))
    assert section.grid.header == [
        *("", "check", "verdict", "score", "threshold", "target"),
        *("accuracy %", "ASR %", "seconds"),
    ]


def test_no_curve_without_clean_models():
    (section,) = after_sections(group([checked(inspected(3.0))]))
    assert section.pictures == []


def test_what_is_inspected_behind_a_repair_is_no_attacked_model():
    attacked = checked(inspected(3.0), repaired(0.8, 0.2), inspected(0.5, None))
    clean = checked(inspected(1.0, None), seed=1)
    clean.scenario["adversary"]["clients"] = 0
    clean.summary["name"] = "clean"
    (section,) = after_sections(group([attacked, clean]))
    assert "1 attacked and 1 clean models" in section.pictures[0].caption
    assert "neural_cleanse, area 1.00" in section.pictures[0].svg


@pytest.mark.parametrize(
    ("attacked", "clean", "area"),
    [([2.0, 3.0], [0.0, 1.0], 1.0), ([0.0], [1.0], 0.0), ([1.0, 1.0], [1.0], 0.5)],
)
def test_areas_by_hand(attacked, clean, area):
    points, found = roc(attacked, clean)
    assert found == area
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    trapezoids = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    assert trapezoids == pytest.approx(area)


def test_a_recovered_trigger_is_shown(tmp_path):
    one = checked(inspected(3.0), root=tmp_path)
    one.path.mkdir()
    tensors = {"mask": torch.ones(1, 4, 4), "pattern": torch.zeros(3, 4, 4)}
    write_after(one.path, "0-neural_cleanse-trigger", tensors)
    (section,) = after_sections(group([one]))
    assert "recovered for class 2" in section.pictures[0].caption
    assert "on black" in section.pictures[0].svg
    assert "<h2>After training</h2>" in html([one], "demo")


def test_a_damaged_trigger_is_told(tmp_path):
    one = checked(inspected(3.0), root=tmp_path)
    one.path.mkdir()
    write_after(one.path, "0-neural_cleanse-trigger", {"mask": torch.ones(4, 4)})
    with pytest.raises(InputError, match="holds no mask and pattern"):
        after_sections(group([one]))
