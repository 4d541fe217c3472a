"""Scenarios that remember much from round to round, and what it means that two runs are equal."""

from fedsim import execution
from fedsim.datasets import default_source
from fedsim.execution import Settings
from fedsim.progress import Silence
from fedsim.results import Run, RunFolder
from fedsim.results.differences import differences
from fedsim.scenario import load
from fedsim.tensors import state_sha256


def tree(server, adversary, **others):
    return {
        "name": "stopped",
        "rounds": 6,
        "data": {"dataset": {"name": "tensors", "path": "toy.safetensors"}},
        "model": {"name": "mlp", "hidden": [8]},
        "clients": {"total": 9, "per_round": 7, "training": {"lr": 0.1, "batch_size": 8}},
        "server": server,
        "adversary": {"clients": 2, **adversary},
        "engine": {"device": "cpu"},
        **others,
    }


def backdoor(trigger):
    return {
        "name": "backdoor", "target": 1, "fraction": 0.5, "trigger": {"name": trigger, "size": 2},
    }  # fmt: skip


FLIP = {"name": "label_flip", "mode": "reversed"}
EACH = {"rounds": [1, 3], "turns": "each", "forced": True}
AUROR = {"name": "auror", "observe_rounds": 3}
FLDETECTOR = {"name": "fldetector", "window": 2, "start": 3}
CENTERED = {"name": "centered_clipping", "radius": 1.0}
MIMIC = {"knowledge": "benign", "attack": {"name": "mimic"}}

SCENARIOS = {
    "auror-adam-redrawn": tree(
        {"aggregator": AUROR, "optimizer": {"name": "adam"}},
        {"poison": FLIP, "schedule": {"pool": "redrawn"}},
    ),
    "foolsgold-yogi-a3fl-each": tree(
        {
            "aggregator": {"name": "foolsgold"},
            "optimizer": {"name": "yogi"},
            "lr": {1: 1.0, 4: 0.5},
        },
        {"poison": backdoor("a3fl"), "schedule": EACH},
    ),
    "centered_clipping-momentum-quantile_clip-trojan-mimic": tree(
        {
            "preaggregators": [{"name": "quantile_clip"}],
            "aggregator": CENTERED,
            "optimizer": {"name": "momentum"},
        },
        {"poison": backdoor("trojan"), **MIMIC},
        clean_twin=True,
    ),
    "fldetector-free_rider": tree(
        {"aggregator": FLDETECTOR},
        {"poison": FLIP, "attack": {"name": "free_rider", "base": "previous", "std": 0.01}},
    ),
    "fl_defender-adam-mimic-window": tree(
        {"aggregator": {"name": "fl_defender"}, "optimizer": {"name": "adam"}},
        {**MIMIC, "schedule": {"first": 2, "last": 4}},
        evaluate_every=2,
    ),
}


class StopAt:
    """A listener that ends the run when a round is done, as Ctrl-C would."""

    def __init__(self, round_, stop=None):
        self.round, self.stop, self.labels = round_, stop or self.interrupt, None

    def interrupt(self):
        raise KeyboardInterrupt

    def cell_started(self, index, count, labels, *_):
        self.labels = labels

    def cell_finished(self, *_):
        pass

    def message(self, _):
        pass

    def round_done(self, record):
        if record["round"] == self.round and "run" not in self.labels:
            self.stop()


def play(tree_, output, progress=None, **options):
    """The path of the run, which has no report."""
    [cell] = load(tree_)
    settings = Settings(output, default_source(), **options)
    return execution.play(cell, settings, progress or Silence()).path


def assert_equal(broken, whole):
    """Everything but seconds and times of day is the same, and nothing is left of the break."""
    assert differences(Run(whole), Run(broken)) == []
    for name in ("clients.jsonl", "model.safetensors", "scenario.yaml", "updates.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert [[*map(str, record)] for record in RunFolder(broken).rounds()] == [
        [*map(str, record)] for record in RunFolder(whole).rounds()
    ]
    sent = RunFolder(broken).summary()["parameters_sha256"]
    assert state_sha256(RunFolder(broken).model()) == sent
    names = [sorted(path.name for path in folder.iterdir()) for folder in (broken, whole)]
    assert names[0] == names[1]
