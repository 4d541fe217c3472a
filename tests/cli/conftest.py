import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner

import fedsim
from fedsim.cli import main


@pytest.fixture
def cli():
    """Call the command line; the result has exit_code, stdout, stderr."""
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def api(monkeypatch):
    """A stand-in for fedsim.api, which remembers how it was called."""
    stub = ModuleType("fedsim.api")
    monkeypatch.setitem(sys.modules, "fedsim.api", stub)
    monkeypatch.setattr(fedsim, "api", stub, raising=False)
    return stub


def summary(seed=0, **changes):
    scores = {"accuracy": 0.9, "attack_success_rate": None, "robust_accuracy": None}
    rest = dict.fromkeys(["detection", "clean_twin", "durability", "certified"])
    return {
        "name": "a", "hash": f"0000000{seed}", "seed": seed, "engine": "inprocess",
        "device": "cpu", "rounds": 2, **scores, "accuracy_per_class": [0.9, 0.9], **rest,
        "failures": {}, "flags": [], "seconds": 1.0, "parameters_sha256": "0" * 64, **changes,
    }  # fmt: skip


@pytest.fixture
def outcome():
    """Make what api.execute returns: a cell for each labels, None for a failed one."""

    def make(*labels, failed=(), is_sweep=None):
        runs = [
            None if i in failed else SimpleNamespace(summary=summary(i), path=Path(f"runs/a-{i}"))
            for i in range(len(labels))
        ]
        return SimpleNamespace(
            runs=runs,
            labels=list(labels),
            failures=[(labels[i], "no reply\nfrom anybody") for i in failed],
            sweep=object() if (len(labels) > 1 if is_sweep is None else is_sweep) else None,
            report=Path("runs/report.html"),
        )

    return make
