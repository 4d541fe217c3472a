"""What tells runs apart, and which are seeds of one another."""

from fedsim.reporting.labels import differences, distinct, group, labelled
from fedsim.reporting.spelling import join, short_key
from tests.reporting.reporting_records import run


def test_runs_that_differ_in_rule_and_seed():
    runs = [run(rule=rule, seed=seed) for rule in ("mean", "median") for seed in (0, 1)]
    assert differences(runs) == [
        {"seed": "0", "server": "mean"},
        {"seed": "1", "server": "mean"},
        {"seed": "0", "server": "median"},
        {"seed": "1", "server": "median"},
    ]
    assert [(one.text, len(one.runs)) for one in group(runs)] == [("mean", 2), ("median", 2)]


def test_a_pipeline_is_told_in_its_order():
    clip, noise = {"name": "clip", "norm": 3.0}, {"name": "gaussian_noise", "std": 0.1}
    guarded = run(seed=0, server={"preaggregators": [clip], "postaggregators": [noise]})
    plain = run(seed=0, rule="median")
    assert [one["server"] for one in differences([plain, guarded])] == [
        "median",
        "clip → mean → gaussian_noise",
    ]


def test_equal_names_are_told_apart_by_their_parameters():
    runs = [
        run(seed=0, server={"aggregator": {"name": "trimmed_mean", "trim": trim}})
        for trim in (0.1, 0.2)
    ]
    assert [one["server"] for one in differences(runs)] == [
        "trimmed_mean(trim=0.1)",
        "trimmed_mean(trim=0.2)",
    ]


def test_runs_that_differ_in_nothing_get_their_folders_names():
    first, second = run(name="first"), run(name="second")
    assert [one["run"] for one in differences([first, second])] == ["first-mean-0", "second-mean-0"]


def test_labels_of_a_sweep_win_where_they_tell_all_runs_apart():
    ours = [run(seed=seed, labels={"seed": str(seed), "alpha": "x"}) for seed in (0, 1)]
    assert labelled(ours) == [{"seed": "0", "alpha": "x"}, {"seed": "1", "alpha": "x"}]
    mixed = [run(labels={"server.aggregator": "mean"}), run(rule="median")]
    assert labelled(mixed) == [{"server": "mean"}, {"server": "median"}]
    twice = [run(name=name, labels={"alpha": "1"}) for name in ("one", "two")]
    assert [set(one) for one in labelled(twice)] == [{"run"}, {"run"}]


def test_only_seeds_differ_and_the_name_stands_for_the_group():
    (one,) = group([run(seed=seed) for seed in (0, 1, 2)])
    assert (one.text, one.labels, len(one.runs)) == ("demo", {}, 3)


def test_a_run_that_is_named_twice_counts_once():
    same = run()
    assert distinct([same, run(seed=1), same]) == [same, run(seed=1)]


def test_words_of_keys():
    assert short_key("adversary.attack.0.factor") == "factor"
    assert join({"server.aggregator": "krum", "data.partition.alpha": "0.5"}) == "krum, alpha 0.5"


def test_labels_of_two_sweeps_do_not_hide_in_what_the_sweeps_differ():
    short = [run(seed=s, rounds=6, labels={"seed": str(s)}) for s in (0, 1)]
    long = [run(seed=s, rounds=9, labels={"seed": str(s)}) for s in (2, 3)]
    assert [dict(one.labels) for one in short] == labelled(short)
    assert {one["rounds"] for one in labelled([*short, *long])} == {"6", "9"}
    assert [len(one.runs) for one in group([*short, *long])] == [2, 2]


def test_one_label_for_two_scenarios_does_not_make_them_seeds_of_one_another():
    runs = [
        run(rule="trimmed_mean", seed=seed, server={"lr": lr},
            labels={"server": "trimmed_mean", "seed": str(seed)})
        for seed, lr in ((0, 1.0), (1, 0.5))
    ]  # fmt: skip
    assert len(group(runs)) == 2
