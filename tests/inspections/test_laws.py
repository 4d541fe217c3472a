"""What every inspection that optimises triggers keeps to, on models worked out by hand."""

import copy
from dataclasses import replace

import pytest
import torch

from fedsim.inspections import inspections
from tests.inspections.shortcuts import CORNER, TARGET, Quadrants, clean, suspect

NAMES = ["neural_cleanse", "dl_tnd", "deep_inspect"]
QUICK = {
    "neural_cleanse": {"steps": 30},
    "dl_tnd": {"steps": 100},
    "deep_inspect": {"steps": 60, "inversion_steps": 10},
}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def quick(name):
    return inspections.build(name, **QUICK[name])


def test_a_shortcut_is_found_its_class_named_and_its_pixel_recovered():
    verdict = inspections.build("neural_cleanse", steps=200)(suspect(shortcut=60.0))
    assert verdict.target == TARGET
    assert verdict.details["norms"][TARGET] < 0.3 * verdict.details["norms"].median()
    mask, pattern = verdict.trigger
    assert divmod(int(mask[0].argmax()), mask.shape[-1]) == CORNER
    assert pattern[0, *CORNER] > 0.5
    images, labels = clean()
    stamped = verdict.trigger.stamp(images[labels != TARGET])
    assert 0 <= stamped.min() <= stamped.max() <= 1
    assert (Quadrants(60.0)(stamped).argmax(dim=1) == TARGET).float().mean() >= 0.99


def test_without_the_shortcut_the_class_is_as_far_away_as_its_neighbours():
    norms = inspections.build("neural_cleanse", steps=200)(suspect()).details["norms"]
    assert norms[TARGET] > 0.7 * norms.median()


def test_a_verdict_without_suspicion_names_nothing(name):
    verdict = inspections.build(name, **QUICK[name], threshold=1e6)(suspect(shortcut=60.0))
    assert not verdict.backdoored
    assert verdict.target is None
    assert verdict.trigger is None
    assert verdict.threshold == 1e6


def test_numbers_are_given_by_class(name):
    details = quick(name)(suspect(shortcut=60.0)).details
    assert {tuple(numbers.shape) for numbers in details.values()} == {(4,)}
    assert all(numbers.isfinite().all() for numbers in details.values())


def test_the_same_generator_says_the_same_and_nothing_else_is_drawn_from(name):
    suspects, state = [suspect(60.0, seed=3) for _ in range(2)], torch.get_rng_state()
    first, second = (quick(name)(one) for one in suspects)
    assert first.score == second.score
    for key, numbers in first.details.items():
        assert torch.equal(numbers, second.details[key])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_model_and_the_images_are_left_as_they_were(name):
    one = suspect(shortcut=60.0)
    one.model.requires_grad_(True)
    before, images = copy.deepcopy(one.model.state_dict()), one.images.clone()
    with torch.no_grad():
        quick(name)(one)
    assert torch.equal(one.images, images)
    assert all(p.grad is None and p.requires_grad for p in one.model.parameters())
    after = one.model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert not one.model.training


def test_two_classes_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} needs at least 3 classes to compare; got 2"):
        quick(name)(suspect(num_classes=2))


def test_logits_that_are_not_finite_are_refused(name):
    one = suspect()
    one.model.linear.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=f"{name}: the model gave logits that are not finite"):
        quick(name)(one)


@pytest.mark.parametrize("name", ["neural_cleanse", "dl_tnd"])
@pytest.mark.parametrize("images", [None, torch.zeros(0, 1, 4, 4)])
def test_clean_images_are_asked_for(name, images):
    with pytest.raises(ValueError, match=f"{name} needs clean images of the server's; got none"):
        quick(name)(replace(suspect(), images=images, labels=torch.zeros(0).long()))


def test_a_class_without_clean_images_is_judged_all_the_same(name):
    images, labels = clean()
    kept = labels != TARGET
    one = replace(suspect(shortcut=60.0), images=images[kept], labels=labels[kept])
    assert quick(name)(one).details["anomalies"].shape == (4,)


def test_colours_are_recovered_as_colours(name):
    class Grey(Quadrants):
        def forward(self, images):
            return super().forward(images.mean(dim=1))

    images, labels = clean()
    model = Grey(60.0).eval().requires_grad_(False)
    one = suspect(model=model, shape=(3, 4, 4), images=images.repeat(1, 3, 1, 1), labels=labels)
    easy = {"neural_cleanse": {"success": 0.2}, "deep_inspect": {"success": 0.0}}.get(name, {})
    verdict = inspections.build(name, **QUICK[name], **easy, threshold=1e-9)(one)
    if verdict.backdoored:
        assert verdict.trigger.mask.shape == (1, 4, 4)
        assert verdict.trigger.pattern.shape == (3, 4, 4)
    assert name == "dl_tnd" or verdict.backdoored


def test_deep_inspect_does_not_look_at_the_clean_images():
    seen = quick("deep_inspect")(suspect(60.0, seed=1))
    blind = quick("deep_inspect")(suspect(60.0, seed=1, data=False))
    assert seen.score == blind.score
    assert torch.equal(seen.details["sizes"], blind.details["sizes"])
