"""Rules crossed with attacks: which table the runs make, and how its picture reads."""

from itertools import pairwise

import numpy as np
import pytest

from fedsim.reporting import cross, crossed, heatmap, save
from fedsim.reporting.heatmap import colour_of, contrast, harm, ink_on
from fedsim.reporting.spelling import adversary_texts, server_texts
from tests.reporting.reporting_records import run, scenario
from tests.reporting.test_reporting_figures import drawn, words

FLIP = {"name": "label_flip", "source": 1, "target": 7}


def attacked(rule="mean", *, attack="boost", poison=None, seed=0, clients=2, **changes):
    """A run under an attack of this name; `clients` 0 is nobody."""
    one = run(rule=rule, seed=seed, name=f"{attack}-{bool(poison)}-{clients}", **changes)
    one.scenario["adversary"] = {"clients": clients, "poison": poison, "attack": [{"name": attack}]}
    return one


def crossing(**missing):
    """Two rules by two attacks, one without ASR, two seeds."""
    return cross([
        attacked(rule, attack=attack, poison=poison, seed=seed, asr=asr)
        for rule in ("mean", "median")
        for attack, poison, asrs in (("boost", FLIP, (0.5, 0.7)), ("sign_flip", None, (None, None)))
        for seed, asr in enumerate(asrs)
        if rule not in missing or missing[rule] != attack
    ])  # fmt: skip


def test_rules_by_attacks_with_the_interval_over_the_seeds():
    found = crossing()
    header, body = found.grid()
    assert header == ["rule", "label_flip + boost: ASR (%)", "sign_flip: drop (points)"]
    assert body == [
        ["mean", "60.0 ± 127.1", "2.0 ± 0.0"],
        ["median", "60.0 ± 127.1", "2.0 ± 0.0"],
    ]
    assert found.seeds == [2]
    assert "over 2 seeds" in found.note()
    assert "ASR: attack success rate; drop: points of accuracy lost" in found.note()


def test_a_cell_that_was_not_run_is_empty_and_hatched():
    found = crossing(median="sign_flip")
    assert found.grid()[1][1] == ["median", "60.0 ± 127.1", ""]
    axes = heatmap(found).axes[0]
    hatched = [patch for patch in axes.patches if patch.get_hatch()]
    assert [patch.get_xy() for patch in hatched] == [(1, 1)]
    assert "Empty: not run." in found.note()
    assert "Empty" not in crossing().note()
    assert len(words(heatmap(found))) == len(words(heatmap(crossing()))) - 2


def test_without_twin_and_success_the_cells_show_accuracy():
    found = cross([attacked(rule, asr=None, twin=False) for rule in ("mean", "median")])
    assert found.shown == ["accuracy"]
    assert harm(found, 0, 0) == pytest.approx(0.2)
    assert "one seed, no interval" in found.note()


@pytest.mark.parametrize(
    "runs",
    [
        [run(rule=rule, adversary=False) for rule in ("mean", "median")],
        [attacked(seed=seed) for seed in (0, 1)],
        [attacked("mean", attack="boost"), attacked("median", attack="sign_flip")],
        [],
    ],
    ids=["nobody attacks", "seeds alone", "a diagonal", "nothing"],
)
def test_no_table(runs):
    assert cross(runs) is None


def test_one_rule_against_several_attacks_and_a_run_named_twice():
    runs = [attacked(attack=attack) for attack in ("boost", "sign_flip", "zero")]
    found = cross([*runs, runs[0]])
    assert (found.rules, found.attacks) == (["mean"], ["boost", "sign_flip", "zero"])
    assert found.seeds == [1]


def test_what_else_differs_makes_columns():
    runs = [attacked(rule) for rule in ("mean", "median") for _ in range(2)]
    for i, one in enumerate(runs):
        one.path = one.path / str(i)
        one.summary = {**one.summary, "hash": str(i)}
        one.scenario["data"] = {"partition": {"name": "dirichlet", "alpha": (0.1, 1.0)[i % 2]}}
    assert cross(runs).attacks == [
        "partition dirichlet(alpha=0.1)",
        "partition dirichlet(alpha=1.0)",
    ]


def test_a_column_where_nobody_attacks():
    found = cross([attacked(clients=clients) for clients in (0, 2)])
    assert found.attacks == ["nobody attacks", "boost"]


def test_attacks_of_one_name_are_told_apart_by_what_differs():
    def tree(**changes):
        return {"adversary": {"clients": 2, "attack": [{"name": "boost", "factor": 5}], **changes}}

    trigger = {"name": "backdoor", "trigger": {"name": "patch", "size": 3}}
    other = {"name": "backdoor", "trigger": {"name": "dba", "size": 2}}
    assert adversary_texts([
        tree(), tree(attack=[{"name": "boost", "factor": 9}]), tree(poison=trigger),
        tree(poison=other), {"adversary": None}, tree(training={"epochs": 3}, attack=[]),
    ]) == [
        "boost, factor 5", "boost, factor 9", "backdoor + boost, trigger patch",
        "backdoor + boost, trigger dba", "nobody attacks", "own training",
    ]  # fmt: skip


def test_servers_of_one_rule_are_told_apart_by_their_rates():
    trees = [scenario("mean"), scenario("mean", lr=0.5), scenario("median")]
    assert server_texts(trees) == ["mean, lr 1.0", "mean, lr 0.5", "median"]


def test_every_number_can_be_read_on_its_colour():
    papers = [colour_of(share) for share in np.linspace(0, 1, 101)]
    inks = [tuple(int(ink_on(paper)[i : i + 2], 16) / 255 for i in (1, 3, 5)) for paper in papers]
    assert min(map(contrast, papers, inks)) >= 4.5
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


def test_the_colours_only_darken():
    paper = [contrast(colour_of(share), (1, 1, 1)) for share in np.linspace(0, 1, 101)]
    assert (np.diff(paper) > 0).all()


@pytest.mark.parametrize(("rules", "attacks"), [(1, 2), (2, 1), (3, 3), (5, 11)])
def test_every_label_and_number_lies_on_the_sheet_and_in_its_cell(rules, attacks):
    figure = heatmap(cross([
        attacked(f"rule_with_a_name_{i}", attack=f"inner_product_manipulation_{j}", seed=seed,
                 asr=0.1 + 0.4 * seed)
        for i in range(rules) for j in range(attacks) for seed in (0, 1)
    ]))  # fmt: skip
    axes, canvas = figure.axes[0], figure.bbox
    for text in [
        *axes.get_xticklabels(),
        *axes.get_yticklabels(),
        *figure.texts,
        figure._supxlabel,
    ]:
        box = text.get_window_extent()
        assert canvas.x0 - 1 <= box.x0 <= box.x1 <= canvas.x1 + 1
        assert canvas.y0 - 1 <= box.y0 <= box.y1 <= canvas.y1 + 1
    wide, high = axes.bbox.width / attacks, axes.bbox.height / rules
    assert all(text.get_window_extent().width < wide for text in axes.texts)
    assert all(text.get_window_extent().height < high / 2 for text in axes.texts)
    titles = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert all(left.x1 <= right.x0 + 1 for left, right in pairwise(titles))
    drawn(figure)


def test_as_text():
    found = crossing(median="sign_flip")
    assert crossed(found).splitlines()[2:4] == [
        "| mean | 60.0 ± 127.1 | 2.0 ± 0.0 |",
        "| median | 60.0 ± 127.1 |  |",
    ]
    tex = crossed(found, tex=True)
    assert r"median & 60.0 $\pm$ 127.1 &  \\" in tex
    assert tex.startswith("\\begin{tabular}{lrr}\n\\toprule\n")


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_file_every_time(tmp_path, ending):
    for name in ("a", "b"):
        save(heatmap(crossing()), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
