"""The score table and its sentence."""

import csv as csv_format
from io import StringIO

import pytest
from rich.console import Console

from fedsim.reporting import csv, latex, markdown, plain, story, table
from fedsim.reporting.scores import rows
from tests.reporting.reporting_records import summary


def rule(name, seed="0"):
    return {"server.aggregator": name, "seed": seed}


def twin(accuracy, asr=0.01, drop=0.02):
    return {"hash": "x", "accuracy": accuracy, "attack_success_rate": asr, "accuracy_drop": drop}


def sentence(entries):
    return story(rows(entries))


def two(base, other, **changes):
    """mean and median with these attack success rates."""
    return [
        (rule("mean"), summary(attack_success_rate=base)),
        (rule("median"), summary(attack_success_rate=other, **changes)),
    ]


def test_numbers_of_one_run():
    text = markdown([({}, summary(accuracy=0.9123, attack_success_rate=0.0504))])
    header, _, row, _, *told = text.splitlines()
    cells = dict(zip(header.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert cells == {
        "accuracy %": "91.2",
        "ASR %": "5.0",
        "ASR clean %": "1.0",
        "drop": "2.0",
        "recall %": "0.0",
        "FPR %": "0.0",
    }
    assert "One seed: no interval." in " ".join(told)


def test_seeds_become_mean_and_student_interval():
    entries = [(rule("mean", str(i)), summary(seed=i, accuracy=0.5 + 0.2 * i)) for i in range(2)]
    (row,) = rows(entries)
    assert row.seeds == 2
    assert row.scores["accuracy"][:2] == pytest.approx((0.6, 1.2706), abs=1e-4)
    assert "| 60.0 ± 127.1 |" in markdown(entries)


def test_the_same_run_twice_counts_once():
    once = summary(hash="abc")
    (row,) = rows([({}, once), ({}, once)])
    assert row.seeds == 1


def test_null_is_a_dash_and_never_zero():
    empty = summary(accuracy=None, attack_success_rate=None, detection=None, clean_twin=None)
    text = markdown([({}, empty)])
    assert text.splitlines()[2] == "| – | – |"
    assert "0.0" not in text


def test_columns_that_apply_to_no_row_are_left_out():
    bare = summary(detection=None, clean_twin=None, robust_accuracy=None)
    assert markdown([({}, bare)]).splitlines()[0] == "| accuracy % | ASR % |"
    assert "robust %" in markdown([({}, {**bare, "robust_accuracy": 0.5})])


def test_cost_is_paired_with_plain_mean():
    entries = [
        (rule(name, str(seed)), summary(seed=seed, clean_twin=twin(accuracy)))
        for name, seed, accuracy in [
            *(("mean", 0, 0.90), ("mean", 1, 0.80)),
            *(("krum", 0, 0.85), ("krum", 1, 0.75), ("krum", 2, 0.10)),
        ]
    ]
    mean, krum = rows(entries)
    assert mean.scores["cost"].mean == 0
    assert krum.scores["cost"][0::2] == (pytest.approx(0.05), 2)
    assert krum.scores["cost"].half == pytest.approx(0, abs=1e-9)


def test_cost_without_mean_is_against_the_most_accurate_rule():
    entries = [
        (rule("krum"), summary(clean_twin=twin(0.7))),
        (rule("median"), summary(clean_twin=twin(0.9))),
    ]
    krum, median = rows(entries)
    assert krum.value("cost") == pytest.approx(0.2)
    assert median.value("cost") == 0


def test_rules_are_compared_within_their_setting_only():
    entries = [
        ({**rule(name), "data.partition": part}, summary(clean_twin=twin(accuracy)))
        for name, part, accuracy in [
            *(("mean", "iid", 0.9), ("krum", "iid", 0.8)),
            *(("mean", "shards", 0.5), ("krum", "shards", 0.45)),
        ]
    ]
    assert [row.value("cost") for row in rows(entries)] == pytest.approx([0, 0.1, 0, 0.05])


def test_a_single_rule_has_no_cost():
    assert rows([(rule("krum"), summary())])[0].scores["cost"] is None


def test_flags_are_short_words_with_how_many_seeds():
    flag = {"flag": "never_learned", "text": "It never learned.", "rounds": []}
    entries = [(rule("mean", "0"), summary(flags=[flag])), (rule("mean", "1"), summary())]
    assert "never learned (1/2)" in markdown(entries)
    assert markdown(entries[:1]).splitlines()[2].endswith("| never learned |")


def test_plain_text_has_every_number_and_no_escape_codes():
    entries = two(0.97, 0.03)
    text = plain(entries)
    assert "\x1b" not in text
    assert "97.0" in text
    assert "3.0" in text
    assert sentence(entries) in " ".join(text.split())


@pytest.mark.parametrize("width", [50, 60, 80, 100, 160])
def test_a_narrow_terminal_folds_numbers_or_says_what_it_left_out(width):
    entries = [
        (rule("centered_clipping", str(i)), summary(seed=i, accuracy=0.9 + i / 100))
        for i in range(2)
    ]
    console = Console(width=width, file=StringIO())
    console.print(table(entries, width))
    text = " ".join(console.file.getvalue().split())
    assert "…" not in text
    assert "90.5 " in text
    assert "±6.4" in text
    assert ("FPR" in text) or ("No room here for" in text)
    assert max(map(len, console.file.getvalue().splitlines())) <= width


def test_csv_holds_shares_and_halves():
    entries = [
        (rule("mean", str(i)), summary(seed=i, attack_success_rate=0.2 * i)) for i in range(2)
    ]
    (line,) = csv_format.DictReader(StringIO(csv(entries)))
    assert line["server.aggregator"] == "mean"
    assert float(line["attack_success_rate_mean"]) == pytest.approx(0.1)
    assert float(line["attack_success_rate_half_interval"]) == pytest.approx(1.2706, abs=1e-3)
    assert line["robust_accuracy_mean"] == ""


def test_hostile_labels_are_escaped():
    name = "a|b_<script>$&\\"
    entries = [(rule(name), summary())]
    assert "a\\|b_&lt;script>$&\\\\" in markdown(entries)
    assert r"a|b\_<script>\$\&\textbackslash{}" in latex(entries)
    assert "a|b_<script>$&\\" in plain([(rule("[bold]" + name), summary())])


@pytest.mark.parametrize("style", [markdown, latex, csv, plain])
def test_no_entries_is_an_empty_table(style):
    assert "\n" in style([])
    assert sentence([]) == ""


def test_story_of_a_defence_that_holds():
    entries = [
        (rule("mean"), summary(attack_success_rate=0.97, clean_twin=twin(0.90))),
        (rule("clip"), summary(attack_success_rate=0.03, clean_twin=twin(0.896))),
    ]
    assert sentence(entries) == (
        "The attack works against mean (97.0 % success); "
        "clip holds it at 3.0 % and costs 0.4 points of clean accuracy."
    )


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (two(0.97, 0.6), "median does not hold it (60.0 %)"),
        (two(0.07, 0.03), "so these numbers do not show what the other rules are worth"),
        (two(0.4, 0.03), "works in part against mean (40.0 % success)"),
        (two(0.97, 0.02, accuracy=0.1), "median holds it at 2.0 %, but at 10.0 % accuracy"),
        (two(0.97, 0.02, clean_twin=None), "holds it at 2.0 % and keeps 80.0 % accuracy"),
        (two(0.9, 0.03)[1:], "Under median attack success is 3.0 % (1.0 % on the clean twin)"),
    ],
)
def test_story_says_what_the_numbers_carry(entries, told):
    assert told in sentence(entries)


def test_story_names_no_winner_where_seeds_disagree():
    shaky = [
        (rule(name, str(seed)), summary(seed=seed, attack_success_rate=asr))
        for name, rates in {"mean": (0.99, 0.95, 0.97), "median": (0.0, 0.0, 0.9)}.items()
        for seed, asr in enumerate(rates)
    ]
    assert "median does not hold it" in sentence(shaky)


def test_story_counts_the_other_rules_and_finds_none():
    several = [*two(0.97, 0.03), (rule("krum"), summary(attack_success_rate=0.9))]
    assert "(1 of 2 other rules hold it)" in sentence(several)
    none = [*two(0.97, 0.6), (rule("krum"), summary(attack_success_rate=0.9))]
    assert "no other rule holds it (lowest: median, 60.0 %)" in sentence(none)


def test_story_without_mean_leaves_open_whether_the_attack_works():
    entries = two(0.2, 0.1)
    entries[0] = (rule("krum"), entries[0][1])
    assert "open whether the attack works at all" in sentence(entries)


def test_story_over_several_settings_tells_the_worst_case():
    entries = [
        ({**rule(name), "adversary.attack": attack}, summary(attack_success_rate=asr))
        for name, attack, asr in [
            *(("mean", "boost", 0.9), ("mean", "zero", 0.1)),
            *(("median", "boost", 0.2), ("median", "zero", 0.3)),
        ]
    ]
    assert sentence(entries) == (
        "Over 2 settings the worst case is 30.0 % attack success for median and 90.0 % for mean."
    )


def test_story_of_an_untargeted_attack():
    entries = [
        (rule("mean"), summary(attack_success_rate=None, clean_twin=twin(0.9, None, 0.452))),
        (rule("median"), summary(attack_success_rate=None, clean_twin=twin(0.9, None, 0.013))),
    ]
    assert sentence(entries) == (
        "The attack costs mean 45.2 points of accuracy; median loses the least, 1.3 points."
    )
    weak = [(rule("mean"), summary(attack_success_rate=None, clean_twin=twin(0.9, None, 0.01)))]
    assert "shows little harm" in sentence(weak)
    apart = [
        ({**rule("mean"), "seed": str(seed)},
         summary(attack_success_rate=None, clean_twin=twin(0.9, None, drop), seed=seed, hash=seed))
        for seed, drop in enumerate((0.1, 0.4, 0.6))
    ]  # fmt: skip
    assert "36.7 ± 62.5 points of accuracy: its seeds differ too much" in sentence(apart)
    bare = [(rule("mean"), summary(attack_success_rate=None, clean_twin=None))]
    assert "only accuracy is shown" in sentence(bare)


@pytest.mark.parametrize(("drop", "told"), [(0.05, False), (0.7, True), (None, False)])
def test_a_ruined_model_is_not_sold_as_a_failed_attack(drop, told):
    twin = {"hash": "1", "accuracy": 0.9, "attack_success_rate": 0.0, "accuracy_drop": drop}
    text = markdown([({}, summary(attack_success_rate=0.0, accuracy=0.2, clean_twin=twin))])
    assert ("ruined the model: 70.0 points" in text) == told
