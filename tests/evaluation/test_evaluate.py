"""One rule in front of every attack: the card says what the runs say, and no more."""

import json
import linecache
import math
import re
import shlex
import shutil
from collections import Counter
from statistics import fmean

import html5lib
import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.errors import InputError, ScenarioError
from fedsim.evaluation import Judged, card_record, load_card, load_suite
from fedsim.evaluation.measured import DETECTION, Measured, keys_of
from fedsim.evaluation.words import story
from fedsim.judging import ContractError, evaluate
from fedsim.results import Run
from fedsim.scenario.overrides import pairs
from fedsim.testing import check_aggregator
from fedsim.trial import on_trial
from fedsim.written import as_file
from tests.evaluation.conftest import QUESTION, SUITE, write_suite

RULES = '''
import torch


def as_weights(updates):
    """The mean, as weights."""
    n = len(updates)
    return updates.new_full((n,), 1 / n)


def as_sum(updates):
    """The mean, as an update."""
    return updates.mean(dim=0)


def by_position(updates):
    """Trusts the first half of the cohort."""
    n = len(updates)
    weights = updates.new_zeros(n)
    weights[: (n + 1) // 2] = 1 / ((n + 1) // 2)
    return weights


def in_place(updates):
    """Writes into the updates."""
    updates.clamp_(-1, 1)
    return updates.mean(dim=0)


def standstill(updates):
    """Never moves the model."""
    return updates.mean(dim=0) * 0


def dice(updates, view):
    """The mean and a little noise."""
    from fedsim.types import Aggregate

    mean = updates.mean(dim=0)
    noise = torch.randn(mean.shape, generator=view.generator).to(mean)
    return Aggregate(mean + 1e-4 * noise, None, {})


def trusting(updates, *, num_byzantine: int = 0):
    """The mean, whoever is malicious."""
    return updates.mean(dim=0)
'''


@pytest.fixture(scope="session")
def rules(place):
    path = place / "rules.py"
    path.write_text(RULES, encoding="utf-8")
    return path


def numbers(value):
    """What must be equal between two cards of a rule: everything but seconds."""
    if isinstance(value, dict):
        return {k: numbers(item) for k, item in value.items() if k != "seconds_per_round"}
    return [numbers(item) for item in value] if isinstance(value, list) else value


FLIP = {"clients": 2, "attack": {"name": "sign_flip"}}


def row(card, attack):
    return next(row for row in card.attacks if row["attack"] == attack)


def test_a_row_says_what_its_runs_say(mean_card, suite, place):
    flipped = row(mean_card, "sign_flip")
    runs = [Run(place / "runs" / f"mini-{digest}") for digest in flipped["scenarios"]]
    assert [run.summary["seed"] for run in runs] == flipped["seeds"] == [0, 1]
    drops = [run.summary["clean_twin"]["accuracy_drop"] for run in runs]
    assert flipped["accuracy_drop"]["mean"] == pytest.approx(fmean(drops))
    assert flipped["damage"]["mean"] == pytest.approx(fmean(max(0, drop) for drop in drops))
    # two values: t = 12.706 with one degree of freedom, and s / √2 is half their distance
    assert flipped["accuracy_drop"]["half"] == pytest.approx(
        12.7062 * abs(drops[0] - drops[1]) / 2, rel=1e-4
    )
    assert flipped["attack_success_rate"] is None


def test_damage_is_the_greater_of_what_was_won_and_what_was_lost(mean_card, place):
    stamped = row(mean_card, "backdoor + boost")
    summaries = [Run(place / "runs" / f"mini-{digest}").summary for digest in stamped["scenarios"]]
    expected = [
        max(
            0.0,
            s["attack_success_rate"] - s["clean_twin"]["attack_success_rate"],
            s["clean_twin"]["accuracy_drop"],
        )
        for s in summaries
    ]
    assert stamped["damage"]["mean"] == pytest.approx(fmean(expected))
    assert stamped["damage"]["mean"] > 0.3  # the attack works, else the row says nothing


def test_the_worst_case_is_the_largest_mean_and_the_key_adds_the_cost(mean_card):
    damages = [one["damage"]["mean"] for one in mean_card.attacks]
    assert mean_card.worst_case["damage"]["mean"] == max(damages)
    cost = mean_card.clean_cost["mean"]
    assert cost == 0  # of the mean against itself
    assert mean_card.ranking_key == pytest.approx(max(damages) + cost)


def test_the_clean_cost_is_what_the_twins_lose_against_the_means(suite, place):
    card = evaluate("median", suite, output=place / "runs", jobs=1)
    twins = {}
    for name in ("mean", "median"):
        loaded = load_suite(suite)
        cells = loaded.cells({"aggregator": {"name": name}}, name)
        folders = {c.scenario.twin().hash8: c.scenario.seed for c in cells}
        found = {}
        for digest, seed in folders.items():
            accuracy = Run(place / "runs" / f"mini-{digest}").summary["accuracy"]
            found.setdefault(seed, set()).add(accuracy)
        assert all(len(values) == 1 for values in found.values())  # a poison moves no twin
        twins[name] = {seed: values.pop() for seed, values in found.items()}
    lost = [twins["mean"][seed] - twins["median"][seed] for seed in (0, 1)]
    assert card.clean_cost["mean"] == pytest.approx(fmean(lost))


def test_the_mean_under_another_name_gets_the_means_card(mean_card, suite, place, rules):
    for name in ("as_weights", "as_sum"):
        card = evaluate(f"{rules}:{name}", suite, output=place / "runs", jobs=1)
        assert card.path == place / "runs" / f"{name}-mini"
        for one, other in zip(card.attacks, mean_card.attacks, strict=True):
            assert one["attack"] == other["attack"]
            assert one["accuracy"] == other["accuracy"]
            assert one["damage"] == other["damage"]
        assert card.worst_case == mean_card.worst_case
        assert card.clean_cost == mean_card.clean_cost
        assert card.ranking_key == mean_card.ranking_key
        theirs = [one for one in card.record["references"] if one["label"] == "mean"]
        assert theirs[0]["ranking_key"] == card.ranking_key


def test_two_evaluations_give_the_same_card_but_for_seconds(mean_card, suite, tmp_path):
    again = evaluate("mean", suite, output=tmp_path / "elsewhere", jobs=1)
    assert numbers(again.record) == numbers(mean_card.record)
    assert again.record.keys() == mean_card.record.keys()


def test_what_is_there_is_not_played_again(mean_card, suite, place):
    runs = sorted((place / "runs").glob("mini-*/summary.json"))
    before = [path.stat().st_mtime_ns for path in runs]
    again = evaluate("mean", suite, output=place / "runs", jobs=1)
    assert [path.stat().st_mtime_ns for path in runs] == before
    assert again.record == mean_card.record


def test_a_clean_twin_that_was_lost_is_made_again(tmp_path):
    matrix = {"server": [{"aggregator": {"name": "mean"}}], "adversary": [FLIP], "seed": [0]}
    small = write_suite(tmp_path, matrix=matrix)
    first = evaluate("mean", small, output=tmp_path / "runs", jobs=1)
    [cell] = load_suite(small).cells(matrix["server"][0], "mean")
    shutil.rmtree(tmp_path / "runs" / f"mini-{cell.scenario.twin().hash8}")
    again = evaluate("mean", small, output=tmp_path / "runs", jobs=1)
    assert numbers(again.record) == numbers(first.record)
    assert not again.record["never_learned"]


def test_a_rule_that_breaks_a_law_gets_a_line_for_each_and_no_score(suite, place, rules):
    with pytest.raises(ContractError) as raised:
        evaluate(f"{rules}:by_position", suite, output=place / "refused", jobs=1)
    assert {one.law for one in raised.value.violations} == {"permutation"}
    command = ["evaluate", f"{rules}:in_place", "--suite", str(suite)]
    done = CliRunner().invoke(main, [*command, "--output", str(place / "refused")])
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith(f"{rules}:in_place: ") for line in lines)
    assert any("in_place: writes into" in line for line in lines)
    assert done.stdout == ""
    assert not (place / "refused").exists()


def test_a_rule_that_was_given_no_num_byzantine_gets_the_suites(brief, place, rules):
    card = evaluate(f"{rules}:trusting", brief, output=place / "runs", jobs=1)
    assert card.record["rule"]["num_byzantine"] == 2
    assert any("the suite's assumption" in text for text in card.record["assumptions"])
    told = evaluate(f"{rules}:trusting", brief, output=place / "runs", jobs=1, num_byzantine=3)
    assert told.record["rule"]["num_byzantine"] == 3
    assert not any("the suite's" in text for text in told.record["assumptions"])
    assert "assumed_more_than_true" in {flag["flag"] for flag in told.flags}
    assert "assumed_more_than_true" not in {flag["flag"] for flag in card.flags}
    assert "--set 'num_byzantine=3'" in told.record["command"]


def test_a_rule_that_never_learns_says_so_and_stands_last(suite, place, rules):
    card = evaluate(f"{rules}:standstill", suite, output=place / "runs", jobs=1)
    assert card.record["never_learned"]
    assert card.worst_case["damage"]["mean"] == 0  # an untrained model has nothing to lose
    assert "never_learned" in {flag["flag"] for flag in card.flags}
    assert "stands last" in card.story[2]


def test_randomness_in_a_rule_is_flagged(mean_card, brief, place, rules):
    card = evaluate(f"{rules}:dice", brief, output=place / "runs", jobs=1)
    assert "randomness" in {flag["flag"] for flag in card.flags}
    assert "randomness" not in {flag["flag"] for flag in mean_card.flags}


def test_an_attack_that_does_not_harm_the_mean_is_named(mean_card):
    assert row(mean_card, "little_is_enough")["baseline_unharmed"]
    assert not row(mean_card, "sign_flip")["baseline_unharmed"]
    texts = {flag["flag"]: flag["text"] for flag in mean_card.flags}
    assert "little_is_enough" in texts["baseline_unharmed"]
    assert "sign_flip" not in texts["baseline_unharmed"]


def test_a_model_out_of_range_counts_as_one_that_guesses(tmp_path):
    attack = {"clients": 2, "attack": {"name": "boost", "factor": 1e30}}
    matrix = {
        "server": [{"aggregator": {"name": "mean"}}, {"aggregator": {"name": "median"}}],
        "adversary": [attack],
    }
    suite = write_suite(tmp_path, matrix=matrix)
    card = evaluate("mean", suite, output=tmp_path / "runs", jobs=1)
    [only] = card.attacks
    assert only["destroyed"] == 1
    assert only["accuracy"]["mean"] == pytest.approx(0.1)
    twin = card.record["clean_accuracy"]["mean"]
    assert only["damage"]["mean"] == pytest.approx(twin - 0.1)
    assert "destroyed" in {flag["flag"] for flag in card.flags}


def test_a_function_without_a_file_is_written_to_one(suite, place):
    code = compile("def shy(updates):\n    return updates.mean(dim=0)\n", "<cell>", "exec")
    names = {"__name__": "__main__"}
    exec(code, names)
    with pytest.raises(ValueError, match="its source is not at hand"):
        evaluate(names["shy"], suite, output=place / "runs", jobs=1)


CELL = """
from jaxtyping import Float
from torch import Tensor
from fedsim.preconditions import requires
CEILING, WIDE = float("inf"), (1, 2.5)
def middle(rows: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    return rows.clamp(max=CEILING).mean(dim=0) * (WIDE[1] - 1.5)
centre = middle
@requires("n >= 2", lambda n: n >= 2)
def careful(updates: Float[Tensor, "n d"]):
    return centre(updates)
"""


def test_a_function_of_a_notebook_is_written_with_all_that_it_uses(tmp_path):
    names = {"__name__": "__main__"}
    linecache.cache["<cell 7>"] = (len(CELL), None, CELL.splitlines(keepends=True), "<cell 7>")
    exec(compile(CELL, "<cell 7>", "exec"), names)
    assert check_aggregator(as_file(names["careful"], tmp_path)) == []
    names["WIDE"] = ({"module": math}, 2.5)
    with pytest.raises(ValueError, match="uses 'WIDE', which cannot be written"):
        as_file(names["careful"], tmp_path)


def test_a_function_of_a_module_is_named_by_its_file(suite, place, rules):
    from fedsim.user_files import load_module

    card = evaluate(vars(load_module(rules))["as_sum"], suite, output=place / "runs", jobs=1)
    assert card.record["rule"]["name"] == "rules.py:as_sum"


def test_the_command_prints_words_first_and_numbers_under_them(mean_card, suite, place):
    command = ["evaluate", "mean", "--suite", str(suite), "--output", str(place / "runs")]
    done = CliRunner().invoke(main, [*command, "--jobs", "1"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:3] == mean_card.story
    assert "backdoor + boost" in done.stdout
    assert "mean (this rule)" in done.stdout
    told = CliRunner().invoke(main, [*command, "--json"])
    assert json.loads(told.stdout) == mean_card.record


def test_a_change_goes_to_the_rule_or_else_to_the_suite(suite, tmp_path):
    command = ["evaluate", "trimmed_mean", "--suite", str(suite), "--output", str(tmp_path)]
    changes = ["--set", "trim=0.2", "--set", "rounds=2", "--set", "evaluate_every=2"]
    attacks = ["--set", "matrix.adversary=[{clients: 2, attack: {name: sign_flip}}]"]
    done = CliRunner().invoke(main, [*command, *changes, *attacks, "--json"])
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["rule"]["trim"] == 0.2
    [run] = [
        Run(path.parent)
        for path in tmp_path.glob(f"mini-{record['attacks'][0]['scenarios'][0]}/summary.json")
    ]
    assert run.summary["rounds"] == 2
    assert "--set 'rounds=2'" in record["command"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trimmed_mena"], "unknown aggregator 'trimmed_mena'. Did you mean 'trimmed_mean'?"),
        (["trimmed_mean"], "trim: is required."),
        (["trimmed_mean", "--set", "trimm=0.2"], "--set trimm: is neither a parameter"),
        (["trimmed_mean", "--set", "trim=0.9"], "trim"),
        (["mean", "--suite", "quik"], "--suite quik: is neither a suite nor a file. Did you mean"),
        (["nothing.py:rule"], "nothing.py is not a file"),
        (["mean", "--jobs", "2", "--ray", "auto"], "--jobs and --ray exclude one another"),
    ],
)
def test_wrong_input_is_one_line(arguments, text, suite, tmp_path):
    given = [] if "--suite" in arguments else ["--suite", str(suite)]
    done = CliRunner().invoke(main, ["evaluate", *arguments, *given, "--output", str(tmp_path)])
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert text in line


def test_a_suite_needs_the_plain_mean(tmp_path):
    matrix = {"server": [{"aggregator": {"name": "median"}}], "seed": [0]}
    with pytest.raises(ScenarioError, match="needs the rules to compare with"):
        load_suite(write_suite(tmp_path, matrix=matrix))


@pytest.mark.parametrize("given", [False, None])
def test_a_suite_needs_the_clean_twin(given, tmp_path, suite):
    with pytest.raises(ScenarioError, match=r"clean_twin: a suite needs it"):
        load_suite(write_suite(tmp_path, clean_twin=given))
    with pytest.raises(ScenarioError, match=r"^--set clean_twin=false: clean_twin: a suite"):
        load_suite(suite, {"clean_twin": False})


def test_attacks_that_differ_in_a_parameter_are_not_averaged(tmp_path):
    flips = [{"clients": 2, "attack": {"name": "sign_flip", "factor": k}} for k in (2.0, 10.0)]
    matrix = {**SUITE["matrix"], "adversary": [*flips, {**flips[0], "clients": 3}]}
    matrix = {**matrix, "server.lr": [1.0, 0.5]}
    cells = load_suite(write_suite(tmp_path, matrix=matrix)).cells(matrix["server"][1], "mean")
    keys = keys_of(cells)
    found = Counter(keys)
    assert len(found) == 6
    assert set(found.values()) == {len(SUITE["matrix"]["seed"])}
    assert {key[0] for key in keys} == {"sign_flip, factor 2.0", "sign_flip, factor 10.0"}


def test_settings_are_averaged_in_what_is_reached_and_in_what_is_lost(suite):
    def cells(*reached):
        blank = {"attack_success_rate": None, "twin_success": None, "flags": (), "seconds": None}
        same = {"hash": "", "accuracy": 0.5, "detection": dict.fromkeys(DETECTION)}
        keys = [("sign_flip", 0.25, name) for name in ("mnist", "cifar10")]
        return [
            Measured(
                key=key, seed=0, twin_accuracy=x, destroyed=False, learns=True, **blank, **same
            )
            for key, x in zip(keys, reached, strict=True)
        ]

    mean, own = Judged("mean", {}, cells(0.9, 0.7)), Judged("own", {}, cells(0.9, 0.5))
    record = card_record(load_suite(suite), own, [mean], random=False)
    assert record["clean_accuracy"]["mean"] == pytest.approx(0.7)
    assert record["clean_cost"]["mean"] == pytest.approx(0.1)


def test_a_reference_that_does_better_is_named_whatever_the_rule_is_called(mean_card):
    record = mean_card.record
    best = min(record["references"], key=lambda one: one["ranking_key"])
    named = {**record["rule"], "label": best["label"]}
    told = story({**record, "rule": named, "ranking_key": best["ranking_key"] + 0.1})
    assert best["label"] in told[2].partition(": ")[2]


def test_the_command_survives_a_shell(tmp_path):
    place = tmp_path / "my rules"
    place.mkdir()
    copy = place / "own.py"
    copy.write_text("def rule(updates, *, way: str):\n    return updates.mean(dim=0)\n")
    trial = on_trial(f"{copy}:rule", {"way": "its 'own'"}, load_suite(write_suite(place)), tmp_path)
    told = shlex.split(trial.command)
    assert told[2] == f"{copy}:rule"
    assert dict(pair[:2] for pair in pairs([told[4]])) == {"way": "its 'own'"}
    assert told[5:] == ["--suite", str(place / "mini.yaml")]


def test_where_the_suite_assumes_nothing_the_card_says_whose_number_it_is(tmp_path, rules):
    matrix = {**SUITE["matrix"], "server": [{"aggregator": {"name": "mean"}}]}
    suite = load_suite(write_suite(tmp_path, matrix=matrix))
    trial = on_trial(f"{rules}:trusting", {}, suite, tmp_path)
    cells = suite.cells(suite.server(trial.choice.config()), "trusting")
    assert "num_byzantine = 0 (the rule's default)." in trial.assumptions(cells)


@pytest.mark.parametrize("name", ["quick", "core", "full"])
def test_the_suites_that_come_with_fedsim_are_scenarios(name):
    suite = load_suite(name)
    assert suite.question.endswith(("?", "cores."))
    assert suite.references[0]["aggregator"] == {"name": "mean"}
    assert len(suite.references) == 8
    stacks = [suite.cells(server, "reference") for server in suite.references[:2]]
    used = {step.name for cell in stacks[0] for step in cell.scenario.adversary.attack}
    assert {"adaptive", "little_is_enough", "min_max", "sign_flip", "boost"} <= used
    assert all(cell.scenario.clean_twin for stack in stacks for cell in stack)
    assert {cell.scenario.seed for cell in stacks[0]} == {0, 1, 2}


def test_a_card_is_read_back_and_refused_where_it_is_none(mean_card, tmp_path):
    assert load_card(mean_card.path / "card.json").record == mean_card.record
    assert "mean on mini" in repr(mean_card)
    assert "<table>" in mean_card._repr_html_()
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(InputError, match="is not a score card"):
        load_card(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        load_card(tmp_path / "nowhere")


def test_the_page_needs_nothing_from_elsewhere(mean_card):
    page = (mean_card.path / "card.html").read_text(encoding="utf-8")
    assert QUESTION in page
    assert len(page) < 1_000_000
    assert "<script" not in page
    html5lib.HTMLParser(strict=True).parse(page)
    assert not re.search(r"(src|href)=\"https?:", page)
    for sentence in mean_card.story:
        assert sentence.split(" %")[0] in page


def test_a_cards_numbers_are_finite(mean_card):
    def walk(value):
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                walk(item)
        assert not (isinstance(value, float) and not math.isfinite(value))

    walk(mean_card.record)


def test_cards_are_ranked_within_their_suite(mean_card, suite, place, rules):
    still = evaluate(f"{rules}:standstill", suite, output=place / "runs", jobs=1)
    median = evaluate("median", suite, output=place / "runs", jobs=1)
    page, sheet = place / "board.html", place / "board.md"
    folders = [str(card.path) for card in (still, mean_card, median)]
    for file in (page, sheet):
        done = CliRunner().invoke(main, ["leaderboard", *folders, "-o", str(file)])
        assert done.exit_code == 0, done.stderr
    order = sorted([mean_card, median], key=lambda card: card.ranking_key)
    names = [card.record["rule"]["label"] for card in order] + ["standstill"]
    lines = [
        line.split(" | ")[1]
        for line in sheet.read_text().splitlines()
        if line[:3] in ("| 1", "| 2", "| 3")
    ]
    assert lines == names
    assert mean_card.record["command"] in page.read_text()
    html5lib.HTMLParser(strict=True).parse(page.read_text(encoding="utf-8"))


def test_a_leaderboard_of_what_is_no_card_is_one_line(tmp_path):
    done = CliRunner().invoke(main, ["leaderboard", str(tmp_path)])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
