import logging
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fedsim.inspections._meta_classifier import Plan, as_images, score, shapes, train
from fedsim.inspections._shadows import Lessons, Shadows, Trojans, _batches, cast_shadows, jumbo
from fedsim.inspections.mntd import mntd
from fedsim.models import models
from fedsim.seeding import seeded
from fedsim.suspects import Suspect
from tests.after.trained import trained_pair
from tests.filters.clean_digits import clean_digits

SHAPE = (1, 8, 8)
TINY = {"num_shadows": 8, "epochs": 1, "steps": 5, "num_queries": 2, "num_classifiers": 2}


def seed(number):
    return torch.Generator().manual_seed(number)


def fresh(generator):
    with seeded(int(torch.randint(2**31, (), generator=generator)), "test"):
        return models.build("mlp", hidden=[16])(SHAPE, 10)


def normalised(generator):
    with seeded(int(torch.randint(2**31, (), generator=generator)), "test"):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))


def suspect(cache=None, born=fresh, **changes):
    root, _ = clean_digits()
    model = born(seed(5)).eval()
    whole = Suspect(model, SHAPE, 10, born, seed(0), root.images, root.labels, cache=cache)
    return replace(whole, **changes)


def lessons(**changes):
    root, _ = clean_digits()
    return Lessons(root.images, root.labels, **{"epochs": 2, **changes})


# The jumbo distribution


def test_a_fifth_of_the_backdoors_are_faint_and_whole_the_others_squares():
    trojans = jumbo(2000, (3, 12, 10), 7, seed(0))
    area = (trojans.mask > 0).flatten(1).sum(1)
    opacity = trojans.mask.flatten(1).amax(1)
    whole = area == 120
    assert whole.float().mean() == pytest.approx(0.2, abs=0.04)
    assert set(area[~whole].tolist()) == {4, 9, 16, 25}
    assert 0.05 <= opacity[whole].min() < opacity[whole].max() <= 0.2
    full = opacity[~whole] == 1
    assert full.float().mean() == pytest.approx(0.25, abs=0.05)
    assert 0.2 <= opacity[~whole][~full].min() < opacity[~whole][~full].max() <= 0.5
    assert set(trojans.target.tolist()) == set(range(7))
    added = trojans.share / (1 - trojans.share)
    assert 0.05 <= added.min() < added.max() <= 0.5
    assert trojans.pattern.shape == (2000, 3, 12, 10)
    assert 0 == trojans.pattern.min() < trojans.pattern.max() == 1


def test_squares_reach_every_pixel_and_fit_small_images():
    assert (jumbo(500, SHAPE, 10, seed(0)).mask > 0).any(dim=0).all()
    assert jumbo(50, (1, 3, 3), 10, seed(0)).mask.shape == (50, 1, 3, 3)


def by_hand(share):
    mask, pattern = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.8)
    mask[..., 0, 0] = 0.5
    return Trojans(mask, pattern, torch.tensor([3]), torch.tensor([share]))


def test_all_of_a_batch_is_stamped_where_the_share_is_one_and_none_where_it_is_zero():
    root, _ = clean_digits()
    for share in (0.0, 1.0):
        [images, labels] = next(_batches(by_hand(share), lessons(batch_size=8), seed(1)))
        rows = torch.randint(len(root), (1, 8), generator=seed(1))[0]
        corner = root.images[rows][:, 0, 0, 0] * (1 - 0.5 * share) + 0.4 * share
        assert torch.allclose(images[0, :, 0, 0, 0], corner)
        assert torch.equal(images[0, :, 0, 1:], root.images[rows][:, 0, 1:])
        assert labels[0].tolist() == ([3] * 8 if share else root.labels[rows].tolist())


# Shadow models


def test_training_all_at_once_is_training_each():
    plan, trojans = lessons(together=6), jumbo(3, SHAPE, 10, seed(1))
    shadows = cast_shadows(fresh, trojans, plan, seed(2))
    draw = seed(2)
    alone = [fresh(draw) for _ in range(6)]
    rates = 0.02 * 10 ** torch.rand(6, generator=draw)
    pairs = Trojans(*(column.repeat_interleave(2, 0) for column in trojans))
    pairs = pairs._replace(share=pairs.share * torch.tensor([0, 1] * 3))
    batches = list(_batches(pairs, plan, draw))
    assert len(batches) == 13  # 2 epochs of 200 images in batches of 32
    for k, model in enumerate(alone):
        optimizer = torch.optim.SGD(model.parameters(), lr=float(rates[k]), momentum=0.9)
        for images, labels in batches:
            optimizer.zero_grad()
            cross_entropy(model(images[k]), labels[k]).backward()
            optimizer.step()
        for name, value in model.state_dict().items():
            assert torch.allclose(shadows.states[name][k], value, atol=1e-4)
    assert shadows.trojaned.tolist() == [0, 1, 0, 1, 0, 1]


def test_backdoored_shadows_obey_their_trigger_and_benign_ones_do_not():
    _, test = clean_digits()
    trojans = jumbo(1, SHAPE, 10, seed(0))._replace(share=torch.tensor([0.3]))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 5:, 5:] = 1
    trojans = trojans._replace(mask=mask, pattern=torch.ones(1, 1, 8, 8))
    shadows = cast_shadows(fresh, trojans, lessons(epochs=20, lr=(0.1, 0.1)), seed(0))
    stamped = torch.where(mask > 0, 1.0, test.images)
    right = (shadows.answers(test.images).argmax(2) == test.labels).float().mean(1)
    obeyed = (shadows.answers(stamped).argmax(2) == trojans.target).float().mean(1)
    assert right.min() > 0.7
    assert obeyed[1] > 0.9 > 0.5 > obeyed[0]


def test_networks_with_batch_normalisation_keep_statistics_of_their_own():
    shadows = cast_shadows(normalised, jumbo(2, SHAPE, 10, seed(0)), lessons(), seed(0))
    means = shadows.states["2.running_mean"]
    assert means.shape == (4, 8)
    assert means.unique(dim=0).shape == (4, 8)
    assert shadows.states["2.num_batches_tracked"].tolist() == [13] * 4


# The classifier


def test_it_tells_networks_by_the_class_they_favour():
    """Every network answers alike to all images: backdoored ones with a higher last logit."""

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

        def forward(self, images):
            return self.bias.expand(len(images), 3)

    trojaned = torch.arange(40) % 2
    bias = torch.randn(40, 3, generator=seed(0))
    bias[:, 2] += 4 * trojaned
    shadows = Shadows(Constant(), {"bias": bias}, trojaned.float())
    plan = Plan(classifiers=2, queries=2, steps=100)
    found = train(shadows, plan, shapes(plan, SHAPE, 3), seed(0))
    assert as_images(found).shape == (4, *SHAPE)
    high, low = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]])[:, None].expand(2, 4, 3)
    assert score(found, high[None]) > 0 > score(found, low[None])


def test_the_score_by_hand():
    plan = Plan(classifiers=1, queries=1)
    found = {name: torch.zeros(size) for name, size in shapes(plan, SHAPE, 2).items()}
    found["weight1"][0, 0, 7], found["bias1"][0, 0, 7] = 2.0, 0.5
    found["weight2"][0, 7, 0], found["bias2"][0, 0, 0] = 3.0, -1.0
    # log-probabilities of logits 0, 0 are −ln 2 each: (1 − ln 2 / 5) · 2 + 0.5 into the unit
    expected = 3 * ((1 - 0.6931472 / 5) * 2 + 0.5) - 1
    assert score(found, torch.zeros(1, 1, 2)).item() == pytest.approx(expected)


# The inspection


def test_the_answer_hangs_on_neither_the_cache_nor_a_generator(tmp_path):
    plain = mntd(suspect(), **TINY)
    torch.rand(3)
    first = mntd(suspect(tmp_path / "new", generator=seed(9)), **TINY)
    [path] = (tmp_path / "new").iterdir()
    written = path.stat().st_mtime_ns
    again = mntd(suspect(tmp_path / "new"), **TINY)
    assert plain.score == first.score == again.score
    assert plain.threshold == first.threshold == again.threshold
    assert path.stat().st_mtime_ns == written


def test_shadows_are_not_trained_again_for_another_model(tmp_path):
    one = mntd(suspect(tmp_path), **TINY)

    def never(generator):
        born = fresh(generator)
        born.train = None  # whoever trains it fails
        return born

    other = mntd(suspect(tmp_path, fresh=never, model=fresh(seed(6)).eval()), **TINY)
    assert other.score != one.score
    assert other.threshold == one.threshold


@pytest.mark.parametrize("damage", ["cut", "junk", "empty", "nan"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    from safetensors.torch import load, save

    whole = mntd(suspect(tmp_path), **TINY)
    [path] = tmp_path.iterdir()
    good = path.read_bytes()
    nan = {name: value * torch.nan for name, value in load(good).items()}
    path.write_bytes({"cut": good[:-40], "junk": b"x" * 99, "empty": b"", "nan": save(nan)}[damage])
    assert mntd(suspect(tmp_path), **TINY).score == whole.score
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


def test_other_data_networks_and_parameters_have_files_of_their_own(tmp_path):
    root, _ = clean_digits()
    mntd(suspect(tmp_path), **TINY)
    mntd(suspect(tmp_path, labels=root.labels.roll(1)), **TINY)
    mntd(suspect(tmp_path, images=root.images.flip(3)), **TINY)
    mntd(suspect(tmp_path, born=normalised), **TINY)
    mntd(suspect(tmp_path), **{**TINY, "steps": 6})
    assert len(list(tmp_path.iterdir())) == 5
    mntd(suspect(tmp_path), **TINY, false_positive_rate=0.5)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_cache_that_cannot_be_written_is_told(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING, "fedsim"):
        verdict = mntd(suspect(tmp_path / "file"), **TINY)
    assert verdict.score == mntd(suspect(), **TINY).score
    assert "is not kept" in caplog.text


def test_the_threshold_is_that_of_held_out_benign_shadows_but_never_negative():
    strict, lax = (mntd(suspect(), **TINY, false_positive_rate=rate) for rate in (0.01, 0.99))
    assert strict.score == lax.score
    assert strict.threshold >= lax.threshold >= 0
    given = mntd(suspect(), **TINY, threshold=-7.5)
    assert given.threshold == -7.5
    assert given.backdoored == (given.score > -7.5)


def test_without_clean_images_there_are_no_shadows():
    with pytest.raises(ValueError, match=r"^mntd needs clean images of the server's\."):
        mntd(suspect(images=None, labels=None), **TINY)


def test_shadows_that_diverge_are_told():
    def broken(generator):
        model = fresh(generator)
        with torch.no_grad():
            model[-1].bias.fill_(torch.nan)
        return model

    with pytest.raises(ValueError, match=r"^mntd: of 16 shadow models only 0 did not diverge$"):
        mntd(suspect(born=broken), **TINY)


def test_held_out_shadows_are_told_apart_and_the_model_is_left_alone():
    whole = suspect()
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    verdict = mntd(whole, num_shadows=32, epochs=10, num_classifiers=2, steps=100)
    assert verdict.details["auc of held-out shadows"] > 0.75
    assert all(torch.equal(before[name], v) for name, v in whole.model.state_dict().items())
    assert not whole.model.training
    assert all(parameter.grad is None for parameter in whole.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["centralized", "dba", "boosted"])
def test_backdoored_models_score_higher_than_their_clean_twins(tmp_path, kind):
    def born(generator):
        with seeded(int(torch.randint(2**31, (), generator=generator)), "test"):
            return models.build("mlp", hidden=[64])(SHAPE, 10)

    for number in range(3):
        pair = trained_pair(tmp_path, kind, number)
        data = {"images": pair.root.images, "labels": pair.root.labels, "cache": tmp_path / "kept"}
        bad, good = (
            mntd(suspect(born=born, model=model, **data)) for model in (pair.backdoored, pair.clean)
        )
        assert bad.backdoored
        assert bad.score > good.score + 1
