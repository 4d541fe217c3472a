"""Every scenario of scenarios/attacks from beginning to end: no number of it is meaningless."""

from pathlib import Path

import pytest

from fedsim.api import execute
from fedsim.results import load as load_run
from fedsim.scenario import load

pytestmark = pytest.mark.slow

FILES = sorted((Path(__file__).parents[2] / "scenarios" / "attacks").glob("*.yaml"))


def flags(summary: dict) -> set[str]:
    return {raised["flag"] for raised in summary["flags"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs_and_what_it_shows_is_the_attack(path, tmp_path):
    """A model that does not learn under attack is an answer; where nobody attacks, a mistake."""
    outcome = execute(path, output=tmp_path)
    assert not outcome.failures
    assert len(outcome.runs) == len(load(path))
    for run in outcome.runs:
        assert not flags(run.summary) & {"precondition_broken", "no_malicious_drawn"}, run.labels
        assert run.summary["rounds"] == run.scenario["rounds"]
        twin = load_run(
            tmp_path / f"{path.stem.replace('_', '-')}-{run.summary['clean_twin']['hash']}"
        )
        assert not flags(twin.summary) & {"never_learned", "precondition_broken"}, run.labels
    assert outcome.report.is_file()
