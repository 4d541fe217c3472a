"""`fedsim new`: the first lines of a rule or an attack of one's own, and their test."""

import keyword
import os
from pathlib import Path

import click

from fedsim.cli.catalogue import PLACES
from fedsim.cli.files import written

RULE = '''\
"""A rule of the server: what becomes of the updates of a round."""

import torch


def NAME(updates: torch.Tensor, *, keep: float = 0.5) -> torch.Tensor:
    """Equal weight on the share `keep` of the rows nearest to the coordinate-wise median.

    `updates` (n, d) has a row for each client. Return weights (n,), or an update (d,).
    """
    distance = (updates - updates.median(dim=0).values).norm(dim=1)
    nearest = distance.argsort(stable=True)[: max(1, round(keep * len(updates)))]
    return torch.zeros_like(distance).index_fill_(0, nearest, 1 / len(nearest))
'''

RULE_TEST = '''\
"""NAME keeps the laws of rules, and does what was worked out by hand."""

import fedsim.testing
import torch
from NAME import NAME


def test_it_keeps_the_laws():
    assert fedsim.testing.check_aggregator(NAME) == []


def test_an_example_worked_out_by_hand():
    # The median is (2, 2); the rows 2 and 3 are the half that is nearest to it.
    updates = torch.tensor([[0.0, 0.0], [2.0, 2.0], [3.0, 3.0], [90.0, 90.0]])
    assert fedsim.aggregate(NAME, updates).weights.tolist() == [0.0, 0.5, 0.5, 0.0]
'''

ATTACK = '''\
"""An attack: what malicious clients send instead of what they trained."""

import torch
from fedsim.types import AdversaryView


def NAME(view: AdversaryView, *, factor: float = 2.0) -> torch.Tensor:
    """The mean of the adversary's own rows times −`factor`, as every row.

    `view.own` (m, d) has a row for each malicious client; return as many. `view.benign` and
    `view.aggregate` are None unless the scenario's `knowledge` grants them.
    """
    direction = view.own.mean(dim=0)
    return (-factor * direction).repeat(len(view.own), 1)
'''

ATTACK_TEST = '''\
"""NAME keeps the laws of attacks, and does what was worked out by hand."""

import fedsim.testing
import torch
from NAME import NAME


def test_it_keeps_the_laws():
    assert fedsim.testing.check_attack(NAME) == []


def test_an_example_worked_out_by_hand():
    # The mean is (2, −1), which times −2 is (−4, 2).
    own = torch.tensor([[1.0, 0.0], [3.0, -2.0]])
    assert fedsim.craft(NAME, own).tolist() == [[-4.0, 2.0], [-4.0, 2.0]]
'''

TEMPLATES = {"rule": (RULE, RULE_TEST), "attack": (ATTACK, ATTACK_TEST)}
KINDS = {"rule": "aggregators", "attack": "attacks"}


@click.command()
@click.argument("kind", type=click.Choice(list(TEMPLATES)), metavar="rule|attack")
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write NAME.py, a rule or an attack to start from, and test_NAME.py, into this folder."""
    paths = [Path(f"{name}.py"), Path(f"test_{name}.py")]
    _check(name, paths)
    for path, template in zip(paths, TEMPLATES[kind], strict=True):
        with written(path), path.open("x", encoding="utf-8") as file:
            file.write(template.replace("NAME", name))
    line = PLACES[KINDS[kind]].format(f"{{name: {name}.py:{name}}}")
    click.echo(f"In a scenario beside it: {line}")
    click.echo(f"Its test: python -m pytest test_{name}.py")


def _check(name: str, paths: list[Path]) -> None:
    """UsageError where a file, its function and its test cannot have the name."""
    from fedsim.errors import InputError

    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise click.UsageError(f"NAME: '{name}' cannot be the name of a function in Python.")
    if name.startswith(("_", "test")):
        text = "would be taken for private, or for a test. Choose another name."
        raise click.UsageError(f"NAME: '{name}' {text}")
    for path in paths:
        if os.path.lexists(path):  # a link to nowhere, too
            raise InputError(f"{path}: is there already. Choose another name.")
    if taken := _taken(name):
        raise click.UsageError(f"NAME: '{name}' is {taken}. Choose another name.")


def _taken(name: str) -> str:
    """What else has the name, if anything."""
    import sys
    from importlib.util import find_spec

    from fedsim.registry import registry

    kind = next((kind for kind in PLACES if name in registry(kind).names()), None)
    if kind:
        return f"one of the {kind} already"
    if name in {"updates", "own"}:
        return "what its test calls the rows"
    return "a Python module" if name in sys.modules or find_spec(name) else ""
