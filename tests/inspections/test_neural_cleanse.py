"""Neural Cleanse's schedule by hand, and what it says of federated backdoors."""

from dataclasses import replace

import pytest
import torch

from fedsim.inspections._sparsity import adapt
from fedsim.inspections.neural_cleanse import neural_cleanse
from tests.inspections.shortcuts import suspect


def test_lambda_begins_after_patience_grows_and_falls_by_its_multiplier():
    weights, streaks = torch.tensor([0.0, 0.4, 0.8]), torch.zeros(3)
    reached = torch.tensor([True, True, False])
    for _ in range(2):
        weights, streaks = adapt(weights, streaks, reached, 0.01, 4.0, 3)
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.4, 0.8]))
    weights, streaks = adapt(weights, streaks, reached, 0.01, 4.0, 3)
    torch.testing.assert_close(weights, torch.tensor([0.01, 1.6, 0.1]))  # 4^1.5 = 8
    assert streaks.tolist() == [0, 0, 0]


def test_one_failure_ends_a_row_of_successes():
    weights, streaks = torch.tensor([0.5]), torch.zeros(1)
    for reached in (True, True, False, True, True):
        weights, streaks = adapt(weights, streaks, torch.tensor([reached]), 0.01, 2.0, 3)
    assert (weights.item(), streaks.item()) == (0.5, 2)


def test_a_class_that_cannot_be_reached_is_left_out():
    one = suspect(shortcut=60.0)
    one.model.linear.weight[3] = -5.0
    verdict = neural_cleanse(one, steps=100)
    assert verdict.details["norms"][3] == 16
    assert verdict.details["anomalies"][3] == 0
    assert verdict.details["norms"].argmin() == 1
    assert verdict.target == 1


def test_batches_of_some_images_find_the_shortcut_too():
    assert neural_cleanse(suspect(shortcut=60.0), batch_size=7, steps=100).target == 1


def judged(pair, model, seed):
    images, labels = pair.root.images, pair.root.labels
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 8, 8)
    one = replace(suspect(data=False), model=model, shape=shape, num_classes=10)
    one = replace(one, generator=generator, images=images, labels=labels)
    return neural_cleanse(one, steps=300)


def test_a_distributed_backdoor_is_found_with_its_trigger(trained):
    pair = trained("dba", 1)
    verdict = judged(pair, pair.backdoored, 1)
    assert verdict.score > 1.5 * verdict.threshold
    assert verdict.target == pair.target
    others = pair.test.labels != pair.target
    stamped = verdict.trigger.stamp(pair.test.images[others])
    with torch.no_grad():
        hits = pair.backdoored(stamped).argmax(dim=1) == pair.target
    assert hits.float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["centralized", "dba", "boosted"])
def test_backdoors_are_found_and_stand_out_more_than_their_twins(trained, kind, seed):
    pair = trained(kind, seed)
    verdict, twin = judged(pair, pair.backdoored, seed), judged(pair, pair.clean, seed)
    assert verdict.target == pair.target
    assert verdict.details["norms"][pair.target] < 0.7 * twin.details["norms"][pair.target]
