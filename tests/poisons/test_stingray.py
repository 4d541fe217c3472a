"""StingRay: which bases are taken, which pixels are copied, and which poisons are kept."""

import pytest
import torch

from fedsim.poisons._resemblance import copy_pixels, harm_of, nearest_bases
from fedsim.poisons.stingray import stingray
from fedsim.types import Network, PoisonView, Split

TASK = {"base": 0, "source": 1}


def pixels_as_features(params, images):
    return images.flatten(1)


def network(weights=None):
    """Logits are a linear map of the pixels, features the pixels themselves."""
    params = torch.zeros(2) if weights is None else torch.as_tensor(weights)

    def predict(params, images):
        return images.flatten(1) @ params.view(2, -1).T

    return Network(params, predict, pixels_as_features)


def view_of(targets, net=None, seed=0):
    chosen = Split(targets, torch.ones(len(targets), dtype=torch.int64))
    net = net or network(torch.zeros(2 * targets[0].numel()))
    return PoisonView(2, torch.Generator().manual_seed(seed), chosen=chosen, network=net)


def strip(*rows):
    """Images of one row of pixels."""
    return torch.tensor(rows).view(len(rows), 1, 1, -1)


def test_the_nearest_bases_come_first():
    rows, partners = nearest_bases(network(), strip([0.1], [0.9], [0.5]), strip([1.0]), 2)
    assert rows.tolist() == [1, 2]
    assert partners.flatten().tolist() == [1, 1]


def test_targets_take_turns():
    own, targets = strip([0.1], [0.9], [0.5]), strip([1.0], [0.0])
    rows, partners = nearest_bases(network(), own, targets, 5)
    assert rows.tolist() == [1, 0, 2]  # the nearest to 1, the nearest to 0, the next to 1
    assert partners.flatten().tolist() == [1, 0, 1]


def made(base, target, similarity, copied=1.0, steps=4):
    images, near = copy_pixels(network(), strip(base), strip(target), similarity, copied, steps)
    return pytest.approx(images.flatten().tolist()), near.item()


def test_the_pixels_that_differ_most_are_copied_and_no_more_than_needed():
    base, target = [0.0, 0.0, 0.0, 0.0], [0.1, 0.8, 0.3, 0.0]  # |t − b| = 0.86
    assert made(base, target, 0.5) == ([0, 0.8, 0, 0], True)  # 0.316 left
    assert made(base, target, 0.3) == ([0, 0.8, 0.3, 0], True)  # 0.1 left
    assert made(base, target, 0.01) == ([0.1, 0.8, 0.3, 0], True)


def test_a_poison_that_does_not_get_there_is_marked():
    base, target = [0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]
    assert made(base, target, 0.5, copied=0.5) == ([0.5, 0.5, 0, 0], False)
    assert made(base, target, 0.5, copied=0.75) == ([0.5, 0.5, 0.5, 0], True)


def test_all_channels_of_a_pixel_are_copied_together():
    base, target = torch.zeros(1, 2, 1, 2), torch.tensor([[[[0.0, 0.4]], [[0.9, 0.6]]]])
    images, _ = copy_pixels(network(), base, target, 0.95, 0.5, 1)
    assert images.flatten().tolist() == pytest.approx([0, 0.4, 0, 0.6])  # 1.0 against 0.9


def test_it_stops_for_each_by_itself():
    bases, targets = torch.zeros(2, 1, 1, 2), strip([0.9, 0.1], [0.5, 0.5])
    images, near = copy_pixels(network(), bases, targets, 0.2, 1.0, 2)
    assert near.tolist() == [True, True]
    assert images.flatten(1).tolist() == [pytest.approx([0.9, 0]), pytest.approx([0.5, 0.5])]


def test_harm_by_hand():
    """Logits 0 and x · w: a step on x = 1 under label 0 takes w down by lr · σ(w) (twice: by both)."""
    net = network([0.0, 0.1])
    judged = (strip([1.0], [1.0], [1.0]), torch.tensor([1, 1, 0]))
    assert harm_of(net, strip([1.0])[0], 0, judged, lr=0.01) == 0
    assert harm_of(net, strip([1.0])[0], 0, judged, lr=1.0) == pytest.approx(1 / 3)
    assert harm_of(net, strip([1.0])[0], 1, judged, lr=1.0) == 0


def test_the_model_is_not_changed_by_looking():
    net = network([0.0, 0.1])
    harm_of(net, strip([1.0])[0], 0, (strip([1.0]), torch.tensor([1])), lr=1.0)
    assert net.params.tolist() == pytest.approx([0.0, 0.1])
    assert not net.params.requires_grad


def craft(lr, harm):
    images, labels = strip([0.2], [1.0], [1.0], [1.0]), torch.tensor([0, 1, 1, 1])
    got = stingray(
        images,
        labels,
        view_of(strip([0.9]), network([0.0, 0.1])),
        **TASK,
        copied=1.0,
        lr=lr,
        harm=harm,
    )
    return [round(x, 3) for x in got[0].flatten().tolist()], got[1].tolist()


def test_only_the_harmless_are_kept():
    own = [0.2, 1.0, 1.0, 1.0]
    assert craft(lr=0.01, harm=0.0) == ([*own, 0.9], [0, 1, 1, 1, 0])
    assert craft(lr=1.0, harm=0.4) == (own, [0, 1, 1, 1])  # all ones are misread after it
    assert craft(lr=1.0, harm=1.0) == ([*own, 0.9], [0, 1, 1, 1, 0])


def test_what_stays_too_far_is_not_sent():
    images, labels = strip([0.0, 0.0]), torch.tensor([0])
    seen = view_of(strip([1.0, 1.0]))
    assert len(stingray(images, labels, seen, **TASK, similarity=0.5, copied=0.5)[1]) == 1
    assert len(stingray(images, labels, seen, **TASK, similarity=0.8, copied=0.5)[1]) == 2


def test_a_client_without_bases_sends_its_own_set():
    images, labels = strip([0.3], [0.4]), torch.tensor([1, 1])
    got = stingray(images, labels, view_of(strip([1.0])), **TASK)
    assert torch.equal(got[0], images)
    assert torch.equal(got[1], labels)
