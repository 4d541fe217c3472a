"""What the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from fedsim.cli import main
from fedsim.scenario import load
from fedsim.testing import check_aggregator

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
KINDS = "aggregators attacks inspections repairs"


def test_it_is_short():
    assert len(README.splitlines()) < 200


def test_the_table_of_what_is_built_in_is_the_one_of_fedsim_list():
    # In a process of its own: other tests register plug-ins of theirs.
    command = [sys.executable, "-m", "fedsim", "list", *KINDS.split(), "--markdown"]
    listed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    assert listed.stdout.strip() in README


def _block(marker: str) -> str:
    """The indented block of the README that contains `marker`."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", README, flags=re.MULTILINE)
    block = next(block for block in blocks if marker in block)
    return "\n".join(line[4:] for line in block.splitlines()).strip() + "\n"


def test_its_scenario_loads_and_its_error_is_told_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = _block("name: flip")
    Path("flip.yaml").write_text(text)
    assert len(load("flip.yaml")) == 1
    Path("flip.yaml").write_text(text.replace("observe_rounds", "observe_round"))
    told = CliRunner().invoke(main, ["validate", "flip.yaml"])
    assert told.exit_code == 2
    assert told.stderr == _block("Did you mean")


def test_its_rule_plugs_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_rule.py").write_text(_block("def nearest_half"))
    Path("flip.yaml").write_text(_block("name: flip"))
    assert check_aggregator("my_rule.py:nearest_half") == []
    rule = "{name: my_rule.py:nearest_half}"
    arguments = [
        "run",
        "flip.yaml",
        "--set",
        f"server.aggregator={rule}",
        "--set",
        "rounds=2",
        "--json",
    ]
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 0, ran.stderr
