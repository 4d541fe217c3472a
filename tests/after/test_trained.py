"""The models that the other tests of this folder look at are what they are said to be."""

import pytest
import torch

KINDS = ("centralized", "dba", "boosted")


def _scores(model, pair):
    images, labels = pair.test.images, pair.test.labels
    others = labels != pair.target
    with torch.no_grad():
        right = model(images).argmax(1) == labels
        hit = model(pair.trigger(images[others])).argmax(1) == pair.target
    return right.float().mean().item(), hit.float().mean().item()


@pytest.mark.parametrize("kind", KINDS)
def test_a_backdoored_model_obeys_its_trigger_and_its_twin_does_not(trained, kind):
    pair = trained(kind, 0)
    accuracy, success = _scores(pair.backdoored, pair)
    assert accuracy >= 0.85
    assert success >= 0.9
    accuracy, success = _scores(pair.clean, pair)
    assert accuracy >= 0.85
    assert success <= 0.2


def test_the_root_data_are_no_test_images(trained):
    pair = trained("centralized", 0)
    root, test = (split.images.flatten(1) for split in (pair.root, pair.test))
    assert len(root) == 200
    assert torch.cdist(root, test).min() > 0


def test_models_are_ready_to_be_looked_at(trained):
    pair = trained("centralized", 0)
    for model in (pair.backdoored, pair.clean):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
