"""The pictures of an attack: what is written at the start of a run, and again at its end."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedsim.api import execute, run
from fedsim.gallery import changed_rows, examples
from fedsim.preview import preview_cell
from fedsim.scenario import load
from fedsim.simulation import State, prepare_cell
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import DataSource, Split

TREE = {
    "name": "seen",
    "rounds": 2,
    "data": {"dataset": {"name": "tensors", "path": "toy.safetensors"}},
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 4, "per_round": 4, "training": {"lr": 0.1, "batch_size": 8}},
}
PATCH = {"name": "patch", "size": 2}
DBA = {"name": "dba", "size": 1, "gap": 1}
A3FL = {"name": "a3fl", "size": 2, "position": [0, 0], "steps": 5}
BACKDOOR = {"name": "backdoor", "target": 0, "fraction": 0.5}
COLLISION = {"name": "feature_collision", "base": 1, "source": 2, "poisons": 3}

USER = '''
import torch


def darker(images, labels, view):
    """Every image half as bright."""
    return images / 2, labels


def broken(images, labels, view):
    """Nothing for the first attacker, trouble for the second."""
    if view.attacker:
        raise RuntimeError("no poison left")
    return images, labels
'''


@pytest.fixture(autouse=True)
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(USER)
    draws = torch.Generator().manual_seed(0)
    arrays = {}
    for split, count in (("train", 96), ("test", 30)):
        arrays[f"{split}_images"] = torch.rand(count, 4, 4, generator=draws)
        arrays[f"{split}_labels"] = torch.arange(count) % 3
    save_file(arrays, tmp_path / "toy.safetensors")
    return DataSource(tmp_path)


def tree(poison, **adversary):
    return {**TREE, "adversary": {"clients": 2, "poison": poison, **adversary}}


def prepared(poison, source, **adversary):
    (cell,) = load(tree(poison, **adversary))
    return prepare_cell(cell, source)


def later(federation, **values):
    """A state after a round that moved the initial model."""
    model = federation.build_model()
    before = flatten_params(model)
    return State(1, before + 0.1, flatten_buffers(model), before, **values)


def seen(path):
    return load_file(path / "examples.safetensors")


def test_a_trigger_is_stamped_on_the_first_test_images(source):
    shown = examples(prepared({**BACKDOOR, "trigger": PATCH}, source))
    assert set(shown) == {"clean", "stamped"}
    changed = shown["clean"] != shown["stamped"]
    assert changed[..., -2:, -2:].all()
    assert changed.sum() == 6 * 4


def test_the_parts_of_a_distributed_trigger_make_the_whole(source):
    poison = {"name": "distributed_backdoor", "target": 0, "per_batch": 2, "trigger": DBA}
    shown = examples(prepared(poison, source, clients=4))
    parts = torch.stack([shown[f"part{part}"] for part in range(4)])
    assert torch.equal(parts.amax(dim=0), shown["stamped"])


def test_a_trigger_that_nobody_shares_is_not_taken_apart(source):
    shown = examples(prepared({**BACKDOOR, "trigger": DBA}, source))
    assert set(shown) == {"clean", "stamped"}


def test_a_learned_trigger_is_shown_as_it_was_learned(source):
    federation = prepared({**BACKDOOR, "trigger": A3FL}, source)
    at_first = examples(federation)
    assert set(at_first) == {"clean", "stamped"}
    pattern = torch.full((1, 4, 4), 0.25)
    learned = examples(federation, later(federation, pattern=pattern))
    assert torch.equal(learned["first"], at_first["stamped"])
    assert (learned["stamped"][..., :2, :2] == 0.25).all()
    assert torch.equal(learned["stamped"][..., 2:], learned["clean"][..., 2:])
    assert learned["pattern"].sum() == 4 * 0.25


def test_a_learned_pattern_is_in_the_folder_when_the_run_has_ended(tmp_path):
    shown = seen(run(tree({**BACKDOOR, "trigger": A3FL}), output=tmp_path / "runs").path)
    assert {"first", "pattern"} <= set(shown)
    assert not torch.equal(shown["first"], shown["stamped"])


def test_crafted_images_stand_beside_those_they_are_like(source):
    federation = prepared(COLLISION, source)
    shown = examples(federation, later(federation))
    assert set(shown) == {"trained", "trained_labels", "alike", "measured"}
    assert shown["trained_labels"].tolist() == [1, 1, 1]
    assert not torch.equal(shown["trained"], shown["alike"])
    own = federation.data.train.images
    assert all((own == image).flatten(1).all(dim=1).any() for image in shown["alike"])
    assert torch.equal(shown["measured"], federation.probe.images)


def test_they_are_crafted_from_the_model_that_the_attacker_was_sent(source):
    federation = prepared(COLLISION, source)
    first, last = examples(federation), examples(federation, later(federation))
    assert torch.equal(first["trained"], last["trained"])  # both of round 1, from the initial model
    other = later(federation)
    moved = State(1, other.params, other.buffers, other.params)
    assert not torch.equal(first["trained"], examples(federation, moved)["trained"])


def test_the_folder_holds_those_of_the_last_round(tmp_path, source):
    path = run(tree(COLLISION), output=tmp_path / "runs").path
    at_first = examples(prepared(COLLISION, source))
    assert not torch.equal(seen(path)["trained"], at_first["trained"])


def test_a_run_that_was_resumed_shows_the_same(tmp_path):
    class Stop:
        cell_started = cell_finished = message = staticmethod(lambda *_: None)

        def round_done(self, record):
            if record["round"] == 1:
                raise KeyboardInterrupt

    whole = run(tree(COLLISION), output=tmp_path / "whole").path
    with pytest.raises(KeyboardInterrupt):
        execute(tree(COLLISION), output=tmp_path / "broken", progress=Stop())
    resumed = run(tree(COLLISION), output=tmp_path / "broken").path
    assert all(torch.equal(seen(whole)[name], image) for name, image in seen(resumed).items())


def test_false_labels_and_a_batch_of_a_users_poison_are_shown(source):
    flipped = examples(prepared({"name": "label_flip", "mode": "reversed"}, source))
    assert len(flipped["trained"]) == len(flipped["measured"]) == 6
    assert "alike" not in flipped
    darker = examples(prepared({"name": "mine.py:darker"}, source))
    assert darker["trained"].max() <= 0.5
    assert "measured" not in darker


def test_the_attacker_shown_is_one_who_has_something_to_poison(source):
    tree = {"name": "label_flip", "mode": "pair", "source": 2, "target": 0}
    (cell,) = load(
        {
            **TREE,
            "data": {**TREE["data"], "partition": {"name": "shards", "per_client": 1}},
            "adversary": {"clients": [0, 1, 2, 3], "poison": tree},
        }
    )
    shown = examples(prepare_cell(cell, source))
    assert shown["trained_labels"].tolist() == [0] * 6


def test_without_a_poison_or_an_attacker_there_is_nothing_to_see(source):
    (cell,) = load(TREE)
    assert examples(prepare_cell(cell, source)) == {}
    nobody = prepared(COLLISION, source, clients=0)
    assert set(examples(nobody)) == {"measured"}


def test_a_poison_that_fails_costs_the_pictures_not_the_run(tmp_path):
    path = run(tree({"name": "mine.py:broken"}), output=tmp_path / "runs").path
    assert not (path / "examples.safetensors").exists()
    assert "no pictures of the attack: RuntimeError: no poison left" in (
        (path / "run.log").read_text()
    )


def test_changed_rows_are_those_of_other_pixels_or_labels_and_those_added():
    before = Split(torch.zeros(3, 1, 1, 1), torch.zeros(3, dtype=torch.long))
    images = torch.tensor([0.0, 1.0, 0.0, 0.0]).view(4, 1, 1, 1)
    assert changed_rows(before, Split(images, torch.tensor([0, 0, 2, 0]))).tolist() == [1, 2, 3]
    assert changed_rows(before, before).tolist() == []


def test_a_preview_shows_what_a_poison_crafts_from_the_initial_model():
    (cell,) = load(tree(COLLISION))
    preview = preview_cell(cell)
    assert "poisoned share: " in "\n".join(preview.lines)
    assert "What the attackers train on" in preview.html
