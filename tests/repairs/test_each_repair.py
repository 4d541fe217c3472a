"""Each repair on networks small enough to say beforehand what is to come of it."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from fedsim.repairs import repairs
from fedsim.repairs._clean import halves
from fedsim.suspects import Recovered, Verdict
from tests.repairs.suspects import built, clouds, halves_lit, suspect, threshold_network

CORNER = Recovered(torch.tensor([[[0.0, 0], [0, 1]]]), torch.ones(1, 2, 2))
"""Pixel 3 lit: the unit that clean images never wake."""


def marked(images):
    return CORNER.stamp(images)


def test_pruning_takes_the_sleeping_unit_and_with_it_the_backdoor():
    model, (images, labels) = threshold_network(), halves_lit(0.25)
    with torch.no_grad():
        model[3].weight[1, 3] = 5.0
    assert model(marked(images)).argmax(1).eq(1).all()
    pruned = repairs.build("pruning")(suspect(model, images, labels))
    assert pruned[1].weight[2:].eq(0).all()
    assert pruned[1].weight[:2].count_nonzero() > 0
    assert torch.equal(pruned(marked(images)).argmax(1), labels)


def test_fine_tuning_is_momentum_sgd():
    model, (images, labels) = built("mlp", hidden=[5]), clouds(9)
    repair = repairs.build("fine_tuning", epochs=2, lr=0.1, momentum=0.5, batch_size=4)
    tuned = repair(suspect(model, images, labels, seed=3))
    again, draw = built("mlp", hidden=[5]).requires_grad_(True), torch.Generator().manual_seed(3)
    velocity = [torch.zeros_like(weight) for weight in again.parameters()]
    for _ in range(2):
        for batch in torch.randperm(9, generator=draw).split(4):
            loss = cross_entropy(again(images[batch]), labels[batch])
            slopes = torch.autograd.grad(loss, [*again.parameters()])
            velocity = [0.5 * v + slope for v, slope in zip(velocity, slopes, strict=True)]
            for weight, v in zip(again.parameters(), velocity, strict=True):
                weight.data -= 0.1 * v
    for got, expected in zip(tuned.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(got, expected.detach())


def test_fine_tuning_cannot_move_a_sleeping_unit():
    model, (images, labels) = threshold_network(), halves_lit()
    with torch.no_grad():
        model[3].weight[1, 3] = 20.0
    tuned = repairs.build("fine_tuning", epochs=20, lr=0.1)(suspect(model, images, labels))
    assert torch.equal(tuned[1].weight[3], model[1].weight[3])
    assert torch.equal(tuned[3].weight[:, 3], model[3].weight[:, 3])
    assert not torch.equal(tuned[3].weight[:, 0], model[3].weight[:, 0])
    assert tuned(marked(images)).argmax(1).eq(1).all()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_what_fine_pruning_prunes_stays_off(activation):
    model, (images, labels) = built("mlp", hidden=[12], activation=activation), clouds()
    given = {"fall": 0.5, "epochs": 5, "lr": 0.1}
    result = repairs.build("fine_pruning", **given)(suspect(model, images, labels))
    pruned = repairs.build("pruning", fall=0.5)(suspect(model, images, labels))
    off = pruned.fc1.weight.eq(0).all(1)
    assert 0 < off.sum() < 12
    assert torch.equal(result.fc1.weight.eq(0).all(1), off)
    assert result.fc1.bias[off].eq(0).all()
    assert not torch.equal(result.fc1.weight[~off], pruned.fc1.weight[~off])


def test_unlearning_breaks_the_trigger_that_was_found():
    model, (images, labels) = threshold_network(), halves_lit()
    with torch.no_grad():
        model[3].weight[1, 3] = 1.5
    assert model(marked(images)).argmax(1).eq(1).all()
    known = suspect(model, images, labels, verdict=Verdict(3.0, 2.0, 1, CORNER))
    healed = repairs.build("unlearning", lr=0.1, epochs=40)(known)
    assert torch.equal(healed(marked(images)).argmax(1), labels)
    assert torch.equal(healed(images).argmax(1), labels)


def test_without_a_trigger_the_inspection_is_asked():
    asked = []

    def oracle(seen):
        asked.append(seen)
        return Verdict(3.0, 2.0, 1, CORNER)

    model, (images, labels) = threshold_network(), halves_lit()
    for verdict in (None, Verdict(3.0, 2.0)):
        known = suspect(model, images, labels, verdict=verdict)
        given = repairs.build("unlearning", inspection=oracle)(known)
        assert asked.pop() is known
    told = suspect(model, images, labels, verdict=Verdict(3.0, 2.0, 1, CORNER))
    same = repairs.build("unlearning", inspection=oracle)(told)
    assert not asked
    assert torch.equal(same[1].weight, given[1].weight)


def test_an_inspection_that_recovers_nothing_is_told():
    repair = repairs.build("unlearning", inspection=lambda suspect: Verdict(3.0, 2.0))
    with pytest.raises(ValueError, match=r"^unlearning: the inspection recovered no trigger\."):
        repair(suspect(threshold_network(), *halves_lit()))


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.2, 4), (0.29, 5), (1.0, 20)])
def test_a_share_of_the_images_is_stamped(fraction, count):
    """The trigger is all that lights pixel 3: its weights move if, and only if, some carry it."""
    seen = []

    class Noting(Recovered):
        def stamp(self, images):
            seen.append(len(images))
            return super().stamp(images)

    model, (images, labels) = threshold_network(), halves_lit()
    known = suspect(model, images, labels, verdict=Verdict(3.0, 2.0, 1, Noting(*CORNER)))
    healed = repairs.build("unlearning", fraction=fraction)(known)
    assert seen == [count]
    assert torch.equal(healed[3].weight[:, 3], model[3].weight[:, 3]) == (count == 0)


@pytest.mark.parametrize(
    ("share", "sizes"), [(0.5, (4, 5)), (0.01, (8, 1)), (0.99, (1, 8)), (0.3, (6, 3))]
)
def test_halves_are_a_partition(share, sizes):
    images, labels = torch.rand(9, 1, 1, 1), torch.arange(9)
    one, other = halves((images, labels), share, torch.Generator().manual_seed(1))
    assert (len(one[1]), len(other[1])) == sizes
    assert sorted([*one[1].tolist(), *other[1].tolist()]) == list(range(9))
    assert torch.equal(one[0], images[one[1]])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pruning", {"fall": 1.1}),
        ("pruning", {"held_out": 1.0}),
        ("fine_tuning", {"lr": 0.0}),
        ("fine_tuning", {"momentum": 1.0}),
        ("fine_pruning", {"epochs": 0}),
        ("unlearning", {"fraction": -0.1}),
        ("unlearning", {"inspection": {"name": "none_such"}}),
    ],
)
def test_parameters_out_of_range_are_refused(name, wrong):
    with pytest.raises(ValueError, match=f"^{name}: {next(iter(wrong))}"):
        repairs.build(name, **wrong)
