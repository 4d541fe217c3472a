"""DL-TND's parts by hand, and what it says of federated backdoors."""

from dataclasses import replace

import pytest
import torch

from fedsim.inspections._perturbations import Problems, margins, perturb, solve
from fedsim.inspections.dl_tnd import _similarities, dl_tnd
from tests.inspections.shortcuts import TARGET, clean, suspect


def problems():
    images, labels = clean(1)
    return Problems.of(images, labels, 4)


def test_each_class_has_one_universal_problem_and_one_with_each_other_image():
    asked = problems()
    assert asked.number == 4 + 4 * 3
    assert asked.problem[:16].tolist() == [t for t in range(4) for _ in range(4)]
    assert asked.wanted[:16].tolist() == [t == i for t in range(4) for i in range(4)]
    assert asked.wanted[16:].all()
    assert asked.labels[16:].tolist() == [t for t in range(4) for i in range(4) if i != t]


def test_a_perturbation_mixes_its_own_problems_rows_alone():
    asked = problems()
    masks, patterns = torch.zeros(16, 1, 4, 4), torch.ones(16, 1, 4, 4)
    masks[1] = 0.25
    images = perturb(asked, masks, patterns)
    rows = asked.problem == 1
    assert torch.equal(images[~rows], asked.images[~rows])
    torch.testing.assert_close(images[rows], 0.75 * asked.images[rows] + 0.25)


def test_margins_are_to_the_best_other_logit():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    assert margins(logits, torch.tensor([0, 1])).tolist() == [1.0, -2.0]


def test_similarity_is_the_quantile_of_cosines_over_other_classes_images():
    asked = problems()
    logits = torch.ones(28, 4)
    logits[16:19] = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1]])  # class 0
    solved = torch.ones(16, dtype=torch.bool)
    found = _similarities(logits, asked, solved, 0.5)
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 1.0, 1.0]))
    assert _similarities(logits, asked, solved, 0.25)[0].item() == pytest.approx(-0.5)


def test_perturbations_that_were_not_found_are_not_compared():
    asked, logits = problems(), torch.ones(28, 4)
    logits[16] = -1
    solved = torch.ones(16, dtype=torch.bool)
    assert _similarities(logits, asked, solved, 0.0)[0] == -1
    solved[4] = False  # class 0's first image of another class
    assert _similarities(logits, asked, solved, 0.0)[0] == 1
    solved[2] = False  # the universal one of class 2
    assert _similarities(logits, asked, solved, 0.0).isnan().tolist() == [False, False, True, False]


def test_solved_problems_are_solved_by_few_pixels():
    one, asked = suspect(shortcut=60.0), problems()
    masks, patterns, solved = solve("x", one, asked, 200, 0.1, 0.7, 3.0)
    logits = one.model(perturb(asked, masks, patterns))
    alone = slice(16, None)
    assert solved.all()
    assert (logits[alone].argmax(dim=1) == asked.labels[alone]).all()
    towards = masks[4:][asked.labels[alone] == TARGET].sum(dim=(1, 2, 3))
    assert towards.max() < 0.5 * masks[4:].sum(dim=(1, 2, 3)).median()


def test_the_fixed_rule_looks_at_the_similarities_themselves():
    verdict = dl_tnd(suspect(shortcut=60.0), rule="fixed", steps=30)
    assert verdict.threshold == 0.75
    assert verdict.score == verdict.details["similarities"].max()
    assert verdict.target == verdict.details["similarities"].argmax()


@pytest.mark.parametrize("rule", ["fixed", "outlier"])
def test_a_model_that_says_one_thing_cannot_be_judged(rule):
    one = suspect()
    one.model.linear.weight.zero_()
    with pytest.raises(ValueError, match="dl_tnd found a way to 0 of 4 classes"):
        dl_tnd(one, rule=rule, steps=20)


def test_the_way_to_the_shortcuts_class_is_the_shortest():
    norms = dl_tnd(suspect(shortcut=60.0), steps=200).details["norms"]
    assert norms[TARGET] < 0.3 * norms.median()


def test_the_outlier_rule_compares_the_classes():
    verdict = dl_tnd(suspect(shortcut=60.0), steps=100)
    assert verdict.threshold == 2
    assert verdict.score == verdict.details["anomalies"].max()


def test_images_of_one_class_are_too_few():
    images, _ = clean()
    one = replace(suspect(), images=images, labels=torch.zeros(len(images)).long())
    with pytest.raises(ValueError, match="dl_tnd needs clean images of at least 2 classes; got 1"):
        dl_tnd(one)


def judged(pair, model, seed):
    one = replace(suspect(data=False, seed=seed), model=model, shape=(1, 8, 8), num_classes=10)
    return dl_tnd(replace(one, images=pair.root.images, labels=pair.root.labels))


def test_a_distributed_backdoor_is_found_and_its_twin_let_go(trained):
    pair = trained("dba", 1)
    verdict, twin = judged(pair, pair.backdoored, 1), judged(pair, pair.clean, 1)
    assert verdict.target == pair.target
    assert verdict.score > twin.score + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["centralized", "dba", "boosted"])
def test_twins_are_let_go(trained, kind, seed):
    pair = trained(kind, seed)
    assert not judged(pair, pair.clean, seed).backdoored
