"""What the repairs leave of backdoors on digits, beside what their papers say.

An mlp of 64 units, 200 clean images, seeds 0, 1, 2, accuracy/ASR in percent:

| | trained | pruning | fine_tuning | fine_pruning | unlearning | the same, trigger known |
|---|---|---|---|---|---|---|
| centralized | 97/100 | 88/96 | 97/99 | 96/95 | 96/22 | 96/7 |
| dba | 94/100 | 82/80 | 96/99 | 94/73 | 95/66 | 95/3 |
| boosted | 91/100 | 86/93 | 95/77 | 96/61 | 95/27 | 95/6 |
| boosted, pruning_aware | 91/100 | 83/94 | 95/65 | 95/60 | 95/15 | 95/4 |

Fine-tuning leaves backdoors and fine-pruning removes more of them, as claimed, but neither brings
one down to its clean twin (0 to 8): so small a network has no units to spare, and pruning leaves a
backdoor that was not trained against it as well. Unlearning does best, with what Neural Cleanse
recovers or with the real trigger; of DBA's it recovers a part, and the whole still works.
"""

import copy

import pytest
import torch

from fedsim.repairs import repairs
from fedsim.suspects import Recovered, Suspect, Verdict
from tests.after import trained as worlds

QUICK = [("centralized", 0), ("dba", 0)]
REST = [
    *[(kind, seed) for kind in ("centralized", "dba") for seed in (1, 2)],
    *[("boosted", seed) for seed in (0, 1, 2)],
]
"""Trained and repaired in the slow tests."""
pairs = pytest.mark.parametrize(
    ("kind", "seed"),
    [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in REST)],
)


def suspect(pair, model, verdict=None):
    generator = torch.Generator().manual_seed(0)
    shape, root = tuple(pair.root.images.shape[1:]), pair.root

    def fresh(draw):
        raise AssertionError("a repair needs no other network")

    return Suspect(model, shape, 10, fresh, generator, root.images, root.labels, verdict)


def measured(pair, model):
    """Accuracy, and the share of the stamped images of other classes that the target gets."""
    test, rows = pair.test, pair.test.labels != pair.target
    right = model(test.images).argmax(1) == test.labels
    taken = model(pair.trigger(test.images[rows])).argmax(1) == pair.target
    return right.float().mean().item(), taken.float().mean().item()


def repaired(pair, name, verdict=None):
    known = suspect(pair, pair.backdoored, verdict)
    return measured(pair, repairs.build(name)(known))


def real_trigger(pair):
    """The trigger as a perfect inspection would recover it."""
    dark = torch.zeros(1, *pair.root.images.shape[1:])
    low, high = pair.trigger(dark)[0], pair.trigger(dark + 1)[0]
    return Recovered(1 - (high - low)[:1], low)


@pairs
def test_fine_tuning_leaves_the_backdoor_and_fine_pruning_less_of_it(trained, kind, seed):
    pair = trained(kind, seed)
    before, asr = measured(pair, pair.backdoored)
    tuned, left_by_tuning = repaired(pair, "fine_tuning")
    pruned, left_by_both = repaired(pair, "fine_pruning")
    assert asr > 0.95
    assert left_by_tuning > (0.5 if kind == "boosted" else 0.9)
    assert left_by_both < left_by_tuning
    assert left_by_both > measured(pair, pair.clean)[1] + 0.2  # a finding: it is not gone
    assert min(tuned, pruned) > before - 0.03


@pairs
def test_pruning_alone_costs_what_it_may_and_does_not_suffice(trained, kind, seed):
    pair = trained(kind, seed)
    before, _ = measured(pair, pair.backdoored)
    accuracy, asr = repaired(pair, "pruning")
    assert 0.8 * before < accuracy <= before + 0.02
    assert asr > 0.5


@pairs
def test_unlearning_removes_it_if_the_trigger_is_known(trained, kind, seed):
    pair = trained(kind, seed)
    before, _ = measured(pair, pair.backdoored)
    known = Verdict(3.0, 2.0, pair.target, real_trigger(pair))
    accuracy, asr = repaired(pair, "unlearning", known)
    assert asr < 0.15
    assert accuracy > before - 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [*QUICK, *REST])
def test_unlearning_removes_what_neural_cleanse_finds_and_no_more(trained, kind, seed):
    """Of the four parts of DBA's trigger it recovers about one: the whole still works."""
    pair = trained(kind, seed)
    accuracy, asr = repaired(pair, "unlearning")
    assert accuracy > 0.9
    if kind == "dba":
        assert 0.4 < asr < 0.85
    else:
        assert asr < 0.4


def test_a_clean_model_is_not_harmed(trained):
    pair = trained("centralized", 0)
    before, _ = measured(pair, pair.clean)
    for name, most in (("fine_tuning", 0.03), ("fine_pruning", 0.03), ("pruning", 0.2)):
        model = repairs.build(name)(suspect(pair, pair.clean))
        assert measured(pair, model)[0] > before - most


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_aware_of_pruning_outlives_it(trained_folder, monkeypatch, seed):
    world = copy.deepcopy(worlds.WORLDS["boosted"])
    world["adversary"]["training"]["constraints"] = [{"name": "pruning_aware"}]
    monkeypatch.setitem(worlds.WORLDS, "aware", world)
    pair = worlds.trained_pair(trained_folder, "aware", seed)
    assert measured(pair, pair.backdoored)[1] > 0.95
    assert repaired(pair, "pruning")[1] > 0.7
    assert repaired(pair, "fine_pruning")[1] < 0.8
