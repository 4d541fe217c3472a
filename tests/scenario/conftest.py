from collections.abc import Callable

import pytest

from fedsim.attacks import attacks
from fedsim.errors import ScenarioError
from fedsim.poisons import poisons
from fedsim.registry import Plugin
from fedsim.scenario import load


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Files are named as the user would: relative to the folder the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def needy(monkeypatch):
    """An attack `spy` that needs `benign` knowledge, a poison `crowd` that needs four attackers."""

    def spy(view):
        return view.benign

    def crowd(images, labels, view):
        return images, labels

    attacks.names(), poisons.names()  # load the real ones first
    spying = Plugin("attacks", "spy", spy, "plain", {"knowledge": "benign"})
    crowded = Plugin("poisons", "crowd", crowd, "plain", {"min_attackers": 4})
    monkeypatch.setitem(attacks._plugins, "spy", spying)
    monkeypatch.setitem(poisons._plugins, "crowd", crowded)


@pytest.fixture
def refused(folder) -> Callable[..., str]:
    """The one line that says what is wrong with the text (or bytes) of a scenario file a.yaml."""

    def line(text, *overrides):
        (folder / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ScenarioError) as caught:
            load("a.yaml", overrides)
        assert str(caught.value).isprintable()
        return str(caught.value)

    return line
