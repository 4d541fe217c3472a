"""The laws for anybody's rule, attack and trigger: ours keep them, broken ones are told."""

import pytest
import torch

from fedsim.errors import PreconditionError
from fedsim.preconditions import requires
from fedsim.registry import plugins
from fedsim.testing import check_aggregator, check_attack, check_trigger, is_random
from fedsim.types import Aggregate
from tests.contracts.test_aggregators import ROWS, label


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_our_rules_keep_the_laws(row):
    assert check_aggregator(row.name, **row.parameters) == []


GIVEN = {
    "gaussian": {"std": 0.1},
    "boost": {"factor": 2.0},
    "adaptive": {"budget": 12},
    "potrojan": {"trigger": {"name": "patch", "size": 1}, "target": 1},
}


@pytest.mark.parametrize(
    "name", sorted(p.name for p in plugins("attacks") if not p.facts.get("file"))
)
def test_our_attacks_keep_the_laws(name):
    assert check_attack(name, **GIVEN.get(name, {})) == []


STAMPS = {"dba": {"size": 4, "gap": 2, "shift": 0}}


@pytest.mark.parametrize(
    "name", sorted(p.name for p in plugins("triggers") if not p.facts.get("file"))
)
def test_our_triggers_keep_the_laws(name):
    assert check_trigger(name, **STAMPS.get(name, {})) == []


def broken(check, function, **parameters):
    return [violation.law for violation in check(function, **parameters)]


def first_row(updates):
    return updates[0]


def by_position(updates):
    return torch.arange(1.0, len(updates) + 1).to(updates) / sum(range(1, len(updates) + 1))


def in_place(updates):
    return updates.mul_(2).mean(dim=0)


def random_global(updates):
    return updates.mean(dim=0) + torch.randn(updates.shape[1], dtype=updates.dtype)


def overflowing(updates):
    return updates.mean(dim=0) / updates.norm()


def negative(updates):
    weights = updates.new_full((len(updates),), 1.0)
    weights[updates[:, 0].argmax()] = -1.0
    return weights / len(updates)


def single(updates):
    return updates.mean(dim=0).float()


def greedy(updates):
    return updates.sort(dim=0).values[2:-2].mean(dim=0)


def too_wide(updates):
    return torch.zeros(len(updates) + 1, updates.shape[1])


def hoarder(updates, view):
    return Aggregate(updates.mean(dim=0), None, {"seen": object()})


def aliasing(updates, view):
    seen = view.state.get("seen", torch.zeros(updates.shape[1]))
    seen += updates.mean(dim=0)
    return Aggregate(seen.clone(), None, {"seen": seen})


def history_by_position(updates, view):
    """Remembers who sent what by the place in the cohort, and trusts who sent little so far."""
    norms = view.state.get("norms", torch.zeros(len(updates), dtype=updates.dtype))
    weights = torch.softmax(-norms, dim=0)
    norms = norms + updates.norm(dim=1)
    return Aggregate(weights @ updates, weights, {"norms": norms})


@pytest.mark.parametrize(
    ("rule", "laws"),
    [
        (first_row, ["permutation"]),
        (by_position, ["permutation"]),
        (history_by_position, ["permutation"]),
        (in_place, ["in_place"]),
        (random_global, ["determinism"]),
        (overflowing, ["finite"]),
        (negative, ["shapes"]),
        (single, ["shapes"]),
        (greedy, ["precondition"]),
        (too_wide, ["precondition"]),
        (hoarder, ["memory"]),
        (aliasing, ["memory"]),
    ],
)
def test_a_broken_rule_is_told_its_law(rule, laws):
    found = broken(check_aggregator, rule)
    assert set(laws) <= set(found), found
    assert check_aggregator("mean") == []


@pytest.mark.parametrize("name", ["krum", "multi_krum", "mean_around_median", "bulyan"])
def test_a_rule_that_is_to_bear_many_attackers_is_tried_on_more_rows(name):
    assert check_aggregator(name, num_byzantine=6) == []


def test_a_rule_that_fails_on_few_rows_is_to_say_so():
    def middle(updates):
        if len(updates) < 3:
            raise IndexError("no middle")
        return updates.median(dim=0).values

    assert broken(check_aggregator, middle) == ["precondition"]
    assert check_aggregator(requires("n >= 3", lambda n: n >= 3)(middle)) == []

    def refusing(updates):
        raise PreconditionError("never")

    assert broken(check_aggregator, refusing) == ["precondition"]


def test_a_rule_that_takes_minutes_is_told(monkeypatch):
    monkeypatch.setattr("fedsim.testing.aggregators.PATIENCE", -1.0)
    assert broken(check_aggregator, "mean") == ["cost"]


def test_a_rule_that_draws_is_random():
    def noisy(updates, view):
        draws = torch.randn(updates.shape[1], generator=view.generator, dtype=updates.dtype)
        return Aggregate(updates.mean(dim=0) + draws, None, {})

    assert is_random(noisy)
    assert check_aggregator(noisy) == [] or broken(check_aggregator, noisy) == ["permutation"]
    assert not is_random("median")


@pytest.mark.parametrize(
    ("attack", "law"),
    [
        (lambda view: view.own[:1], "shapes"),
        (lambda view: view.own.mul_(-1), "in_place"),
        (lambda view: view.own + torch.randn(view.own.shape), "determinism"),
        (lambda view: view.own / 0.0, "finite"),
        (lambda view: view.own.float(), "shapes"),
        (lambda view: (view.own, [1]), "shapes"),
        (lambda view: view.benign[5].expand_as(view.own), "shapes"),
    ],
)
def test_a_broken_attack_is_told_its_law(attack, law):
    assert law in broken(check_attack, attack)


@pytest.mark.parametrize(
    ("trigger", "law"),
    [
        (lambda images: images * 2, "range"),
        (lambda images: images.mul_(0.5), "in_place"),
        (lambda images: (images + torch.rand(images.shape)).clamp(0, 1), "determinism"),
        (lambda images: images[:, :1, :4], "shapes"),
        (lambda images: images / images.amax().clamp(min=1e-9), "alone"),
    ],
)
def test_a_broken_trigger_is_told_its_law(trigger, law):
    assert law in broken(check_trigger, trigger)
