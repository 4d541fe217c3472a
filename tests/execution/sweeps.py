"""A small sweep with a rule that can be put in a mood, and what it means that two are equal."""

import json
from pathlib import Path

from tests.execution.test_execution import write_data

RULES = '''
import os
from pathlib import Path


def moody(updates, *, mood: int = 0):
    """The mean; where a file `break<mood>` stands beside this one it raises, or dies."""
    file = Path(__file__).with_name(f"break{mood}")
    if file.exists() and file.read_text() == "die":
        os._exit(3)
    if file.exists():
        raise RuntimeError("in a mood")
    return updates.mean(dim=0)
'''


def write_sweep(folder, rounds=3, moods=(0, 1), **changes):
    """Write the data and a scenario of one cell for each of `moods`, and return its path."""
    write_data(folder)
    # A file's module is kept by its content, and this one looks beside itself.
    (folder / "rules.py").write_text(f"{RULES}\n\n# {folder}\n")
    tree = {
        "name": "swept",
        "rounds": rounds,
        "data": {"dataset": {"name": "tensors", "path": "toy.safetensors"}},
        "model": {"name": "mlp", "hidden": [8]},
        "clients": {"total": 6, "per_round": 3, "training": {"lr": 0.1, "batch_size": 8}},
        "adversary": {"clients": 2, "poison": {"name": "label_flip", "mode": "reversed"}},
        "engine": {"device": "cpu"},
        "matrix": {
            "server.aggregator": [{"name": "rules.py:moody", "mood": mood} for mood in moods]
        },
        **changes,
    }
    (folder / "s.yaml").write_text(json.dumps(tree))
    return folder / "s.yaml"


def results(output):
    """What the sweep in `output` says, but for seconds: sweep.json, and each cell's summary."""
    [sweep] = Path(output).glob("*-sweep-*/sweep.json")
    record = json.loads(sweep.read_text())
    summaries = []
    for cell in record["cells"]:
        path = Path(output) / cell["run"] / "summary.json"
        summary = json.loads(path.read_text()) if path.exists() else {}
        summaries.append({key: value for key, value in summary.items() if key != "seconds"})
    return record, summaries
