"""DBA: four attackers stamp four different places, the test stamps all of them."""

import pytest
import torch

from fedsim.poisons import poisons
from fedsim.poisons.distributed_backdoor import distributed_backdoor
from fedsim.triggers import triggers
from fedsim.types import PoisonView

IMAGES = torch.rand(6, 3, 6, 8, generator=torch.Generator().manual_seed(0)) * 0.9
LABELS = torch.tensor([0, 1, 2, 1, 0, 2])
BARS = triggers.build("dba", size=2, gap=[2, 1], shift=0)
PLACES = [(0, 0), (0, 4), (2, 0), (2, 4)]  # row and first column of each part


def part(images, number):
    row, column = PLACES[number]
    stamped = images.clone()
    stamped[:, :, row, column : column + 2] = 1
    return stamped


def attack(attacker, images=IMAGES, labels=LABELS, **parameters):
    given = {"trigger": BARS, "target": 2, "per_batch": 4, **parameters}
    return distributed_backdoor(images, labels, PoisonView(3, attacker=attacker), **given)


def probe(**parameters):
    plugin = poisons.get("distributed_backdoor")
    given = {"trigger": BARS, "target": 2, "per_batch": 4, **parameters}
    return plugin.facts["probe"](IMAGES, LABELS, PoisonView(3), **given)


@pytest.mark.parametrize("attacker", range(9))
def test_attacker_k_stamps_part_k_mod_4_on_the_first_of_the_batch(attacker):
    images, labels = attack(attacker)
    assert torch.equal(images[:4], part(IMAGES[:4], attacker % 4))
    assert torch.equal(images[4:], IMAGES[4:])
    assert labels.tolist() == [2, 2, 2, 2, 0, 2]


def test_the_four_together_are_the_global_trigger():
    changed = [attack(attacker)[0] != IMAGES for attacker in range(4)]
    whole = BARS(IMAGES[:4]) != IMAGES[:4]
    assert torch.equal(torch.stack(changed).any(0)[:4], whole)
    assert torch.stack(changed).sum(0).max() == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_batch_smaller_than_r_is_stamped_throughout(count):
    images, labels = attack(3, IMAGES[:count], LABELS[:count], per_batch=20)
    assert torch.equal(images, part(IMAGES[:count], 3))
    assert labels.tolist() == [2] * count


def test_what_is_measured_is_the_global_trigger_off_the_target_class():
    got = probe()
    keep = [0, 1, 3, 4]
    expected = IMAGES[keep]
    for number in range(4):
        expected = part(expected, number)
    assert torch.equal(got.images, expected)
    assert got.expected.tolist() == [2] * 4
    assert got.truth.tolist() == [0, 1, 1, 0]


def test_a_trigger_fixed_on_one_part_is_still_divided_and_measured_whole():
    fixed = triggers.build("dba", size=2, gap=[2, 1], shift=0, part=0)
    assert torch.equal(attack(3, trigger=fixed)[0], attack(3)[0])
    assert torch.equal(probe(trigger=fixed).images, probe().images)


def test_any_callable_with_part_will_do():
    def shade(images, part=None):
        return torch.full_like(images, 1.0 if part is None else part / 4)

    assert (attack(2, trigger=shade)[0][:4] == 0.5).all()
    assert (probe(trigger=shade).images == 1).all()


@pytest.mark.parametrize("call", [lambda **given: attack(0, **given), probe])
def test_what_cannot_work_is_refused(call):
    with pytest.raises(ValueError, match="trigger must take part, as dba does; got 'patch'"):
        call(trigger=triggers.build("patch", size=2))
    with pytest.raises(ValueError, match=r"target must be in 0\.\.2; got 3"):
        call(target=3)
    with pytest.raises(ValueError, match="needs 3 × 12 pixels; the images have 6 × 8"):
        call(trigger=triggers.build("dba", size=5, gap=[2, 1], shift=0))


def test_it_asks_for_four_attackers():
    assert poisons.get("distributed_backdoor").facts["min_attackers"] == 4
