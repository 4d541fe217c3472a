"""Finished runs that serve together: the class that most of them vote for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fedsim.errors import InputError
from fedsim.finished import Finished, open_run
from fedsim.flower.client_app import torch_threads
from fedsim.simulation.after import predictions
from fedsim.types import Probe

FEWEST = 3
"""With two models every disagreement is a tie."""

Entry = dict[str, Any]


def ensemble(paths: Sequence[Path]) -> dict[str, Any]:
    """Accuracy and attack success of finished runs, each for itself and by majority vote.

    Accuracy is that on the test split, which all share. Under `runs`, in the order given, stands
    the attack success of each on its own run's probe, and with `ensemble_attack_success_rate`
    the vote's on that probe: with the same attack in all runs they share one, with different
    attacks each speaks for its own. Under `ensemble` stands the vote's on the first run's probe.

    Paper: Hitaj and Mancini, 2018, arXiv:1809.00615 (an ensemble of models votes).
    Raises: InputError for fewer than three runs, or runs of other data or classes.
    """
    if len(paths) < FEWEST:
        raise InputError(f"fedsim ensemble: needs at least {FEWEST} runs; got {len(paths)}.")
    members = [open_run(path) for path in paths]
    for member in members[1:]:
        _check_alike(members[0], member)
    with torch_threads(members[0].federation.scenario.engine.server_threads):
        return _scores(members)


def majority(votes: Int[Tensor, "m b"], num_classes: int) -> Int[Tensor, " b"]:
    """The class that most of m models vote for; equal numbers go to the lowest, −1 is no vote.

    Where nobody votes, it is −1.

    >>> majority(torch.tensor([[2, 1, 0], [2, 0, 1], [0, -1, 2]]), num_classes=3)
    tensor([2, 0, 0])
    """
    classes = torch.arange(num_classes, device=votes.device)
    counts = (votes[..., None] == classes).sum(dim=0)
    most = (counts * num_classes - classes).argmax(dim=1)
    return most.where(counts.sum(dim=1) > 0, -1)


def _scores(members: Sequence[Finished]) -> dict[str, Any]:
    test = members[0].federation.data.test
    votes, labels = _votes(members, test.images), test.labels.cpu()
    runs = [_entry(member, own == labels) for member, own in zip(members, votes, strict=True)]
    for member, entry in zip(members, runs, strict=True):
        entry |= _success(member, members)
    right = majority(votes, members[0].federation.data.num_classes) == labels
    success = runs[0]["ensemble_attack_success_rate"]
    return {
        "ensemble": {"accuracy": _share(right), "attack_success_rate": success},
        "runs": runs,
    }


def _entry(member: Finished, right: Tensor) -> Entry:
    summary = member.run.summary
    name = {"run": member.run.path.resolve().name, "name": summary["name"], "hash": summary["hash"]}
    return {**name, "seed": summary["seed"], "accuracy": _share(right)}


def _success(member: Finished, members: Sequence[Finished]) -> Entry:
    """Attack success on the probe of `member`: its own, and the vote's."""
    probe: Probe | None = member.federation.probe_with(member.pattern)
    if probe is None:
        return {"attack_success_rate": None, "ensemble_attack_success_rate": None}
    votes, expected = _votes(members, probe.images), probe.expected.cpu()
    own = votes[next(k for k, one in enumerate(members) if one is member)]
    joint = majority(votes, member.federation.data.num_classes)
    return {
        "attack_success_rate": _share(own == expected),
        "ensemble_attack_success_rate": _share(joint == expected),
    }


def _votes(members: Sequence[Finished], images: Tensor) -> Int[Tensor, "m b"]:
    """What each member says of the images, each on its own run's device."""
    found = [predictions(one.model, images.to(one.federation.device)) for one in members]
    return torch.stack([classes.cpu() for classes in found])


def _check_alike(first: Finished, other: Finished) -> None:
    here, there = first.federation.data, other.federation.data
    if here.num_classes != there.num_classes:
        text = f"has {there.num_classes} classes, {first.run.path} has {here.num_classes}"
    elif here.test.images.shape != there.test.images.shape or not (
        torch.equal(here.test.images.cpu(), there.test.images.cpu())
        and torch.equal(here.test.labels.cpu(), there.test.labels.cpu())
    ):
        text = f"was tested on other data than {first.run.path}"
    else:
        return
    raise InputError(f"{other.run.path}: {text}. Take runs of the same data set.")


def _share(which: Tensor) -> float:
    return which.double().mean().item()
