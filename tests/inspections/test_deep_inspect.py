"""DeepInspect's parts by hand, and what it says of federated backdoors."""

from dataclasses import replace

import pytest
import torch

from fedsim.inspections._generator import Plan, sizes, smallest_triggers, stamp
from fedsim.inspections._inversion import invert
from fedsim.inspections.deep_inspect import deep_inspect
from tests.inspections.shortcuts import Quadrants, suspect

PLAN = Plan(steps=100, batch_size=64, lr=0.01, gan=0.1, size=0.02, bound=0.0, success=0.9)


def triggers(**changes):
    one = suspect(seed=5)
    return smallest_triggers("x", one, one.images, PLAN._replace(**changes))[0]


def test_inversion_makes_images_of_every_class():
    one = suspect(data=False)
    images = invert("x", one, 3, 100)
    assert images.shape == (12, 1, 4, 4)
    assert 0 <= images.min() <= images.max() <= 1
    assert one.model(images).argmax(dim=1).tolist() == [t for t in range(4) for _ in range(3)]


def test_a_model_that_answers_every_grey_image_alike_is_inverted_too():
    class Blind(Quadrants):
        def forward(self, images):
            return super().forward(images) * (0.35 - images.mean(dim=(1, 2, 3))).relu()[:, None]

    one = suspect(data=False, model=Blind(0.0).eval().requires_grad_(False))
    found = one.model(invert("x", one, 20, 100)).argmax(dim=1).view(4, 20)
    assert (found == torch.arange(4)[:, None]).float().mean(dim=1).min() > 0.5


def test_a_trigger_moves_pixels_by_a_share_of_their_room():
    images = torch.tensor([0.0, 0.2, 1.0]).view(1, 1, 1, 3)
    triggers = torch.tensor([[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5], [0.0, 1.0, -1.0]]).view(
        3, 1, 1, 3
    )
    expected = torch.tensor([[0.5, 0.6, 1.0], [0.0, 0.1, 0.5], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(stamp(triggers, images).flatten(1), expected)


def test_a_heavier_size_makes_smaller_triggers():
    assert sizes(triggers(size=1.0)).sum() < 0.5 * sizes(triggers(size=0.0)).sum()


def test_a_size_within_the_bound_costs_nothing():
    assert torch.equal(triggers(size=1.0, bound=1000.0), triggers(size=0.0))


def test_the_discriminator_has_a_say():
    assert not torch.equal(triggers(gan=1.0), triggers(gan=0.0))


def test_the_smallest_triggers_reach_their_classes():
    one = suspect(seed=5)
    found, reached = smallest_triggers("x", one, one.images, PLAN)
    assert reached.all()
    predicted = one.model(stamp(found, one.images).flatten(0, 1)).argmax(dim=1).view(4, -1)
    assert (predicted == torch.arange(4)[:, None]).float().mean(dim=1).min() >= 0.9


def test_a_class_that_cannot_be_reached_is_left_out():
    one = suspect(shortcut=60.0)
    one.model.linear.weight[3] = -5.0
    details = deep_inspect(one, steps=400).details
    assert details["sizes"][3] == 16
    assert details["anomalies"][3] == 0
    assert details["anomalies"][:3].abs().max() > 0


def test_the_way_to_a_shortcuts_class_is_the_shortest():
    details = deep_inspect(suspect(shortcut=60.0), size=0.5, steps=300).details
    assert details["sizes"][1] < 0.3 * details["sizes"].median()


def judged(pair, model, seed):
    one = suspect(data=False, seed=seed)
    return deep_inspect(replace(one, model=model, shape=(1, 8, 8), num_classes=10))


def test_a_distributed_backdoor_is_found_without_any_data(trained):
    pair = trained("dba", 1)
    verdict = judged(pair, pair.backdoored, 1)
    assert verdict.target == pair.target
    found = verdict.details["sizes"]
    assert found[pair.target] < 0.5 * found.median()
    others = pair.test.labels != pair.target
    with torch.no_grad():
        stamped = verdict.trigger.stamp(pair.test.images[others])
        hits = pair.backdoored(stamped).argmax(dim=1) == pair.target
    assert hits.float().mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["dba", "boosted"])
def test_the_way_to_a_federated_backdoors_class_is_far_shorter_than_in_its_twin(
    trained, kind, seed
):
    """Whether the verdict follows hangs on how alike the other sizes are (see scenarios/after)."""
    pair = trained(kind, seed)

    def share(model):
        sizes = judged(pair, model, seed).details["sizes"]
        return sizes[pair.target] / sizes.median()

    assert share(pair.backdoored) < 0.6
    assert share(pair.clean) > 0.75
