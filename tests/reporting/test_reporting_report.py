"""The whole page: valid HTML, its story, where updates stood, cost, and how to run it again."""

import json
import re
import shlex
from itertools import pairwise

import html5lib
import numpy as np
import pytest
from matplotlib.colors import to_hex

import fedsim
from fedsim.errors import InputError
from fedsim.reporting import html
from fedsim.reporting.account import account
from fedsim.reporting.labels import group, labelled
from fedsim.reporting.scores import rows
from fedsim.reporting.standing import read_updates, updates_figure
from fedsim.reporting.style import BENIGN, DORMANT, MALICIOUS
from fedsim.reporting.tabled import costs
from fedsim.reporting.weights import weight_figure
from tests.reporting.reporting_records import run
from tests.reporting.test_reporting_figures import words as written
from tests.reporting.test_reporting_heatmap import attacked
from tests.reporting.test_reporting_page import read, words

TREE = {
    "name": "small",
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [4]},
    "clients": {"total": 6, "per_round": 4, "training": {"lr": 0.1, "batch_size": 64}},
    "adversary": {"clients": 2, "attack": {"name": "sign_flip"}},
    "engine": {"device": "cpu"},
}
STANDING = {
    "round": 3, "explained": [0.75, 0.125], "zero": [0, 0], "aggregate": [0.5, 0.5],
    "clients": [
        {"client": 0, "malicious": False, "acting": False, "weight": 0.5, "at": [1, 2]},
        {"client": 1, "malicious": True, "acting": True, "weight": 0, "at": [-1, 2]},
        {"client": 2, "malicious": True, "acting": False, "weight": 0.5, "at": [3, 4]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two rules by two attacks."""
    matrix = {
        "server.aggregator": [{"name": "mean"}, {"name": "median"}],
        "adversary.attack": [{"name": "zero"}, {"name": "sign_flip"}],
    }
    return fedsim.sweep({**TREE, "matrix": matrix}, output=tmp_path_factory.mktemp("swept"))


def timed(**changes):
    one = run(**changes)
    for record in one.rounds:
        at = 0.0 if record["round"] == 0 else 1.0
        record |= {"seconds.train": 3 * at, "seconds.aggregate": at, "seconds.evaluate": 0.0}
    return one


def sentences(runs):
    return account(runs, rows([(a, b.summary) for a, b in zip(labelled(runs), runs, strict=True)]))


def test_the_page_of_a_sweep_is_html_and_small(swept):
    text = (swept.path / "report.html").read_text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert len(text.encode()) < 1_000_000
    assert "Rules by attacks" in words(text)
    assert "Where the updates stood" in words(text)


@pytest.mark.parametrize(
    "runs",
    [
        [run(caught=True, failures={"timeout": 1}, flags=[{"flag": "x", "text": "<a&b>", "rounds": [1]}])],
        [run(adversary=False, asr=None, weights=False, twin=False)],
        [],
    ],
    ids=["attacked", "nobody attacks", "nothing"],
)  # fmt: skip
def test_every_page_is_html(runs):
    html5lib.HTMLParser(strict=True).parse(html(runs, "demo", missing=["a: failed"]))


def test_html_that_is_none_would_be_found():
    broken = html(run(), "demo").replace("</dl>", "</d>", 1)
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse(broken)


def test_headings_follow_one_another_and_pictures_have_words(swept):
    text = (swept.path / "report.html").read_text()
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    spoken = re.findall(r'<svg role="img" aria-label="([^"]{10,})"', text)
    assert len(spoken) == text.count("<svg") > 3


def test_wide_things_have_a_box_of_their_own_to_scroll_in(swept):
    text = (swept.path / "report.html").read_text()
    assert len(re.findall(r'<div class="scroll" tabindex="0"><table>', text)) == text.count(
        "<table>"
    )
    assert len(re.findall(r'<div class="drawing" tabindex="0">\s*<svg', text)) == text.count("<svg")


def test_the_commands_on_the_page_give_the_same_numbers(swept, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from fedsim.cli import main

    text = (swept.path / "report.html").read_text()
    commands = re.search(r"<pre>\s*(fedsim run .*?)</pre>", text, re.DOTALL)[1].split("\n")
    (scenario,) = re.findall(r"the whole sweep</summary><pre>(.*?)</pre>", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(scenario)
    for folder in swept.path.parent.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    results = [CliRunner().invoke(main, shlex.split(line)[1:]) for line in commands if line]
    assert [one.exit_code for one in results] == [0, 0]
    assert "equal in everything but times" in results[-1].stdout


def test_a_run_is_run_again_by_its_own_scenario():
    text = words(html(run(), "demo"))
    assert "fedsim run demo-mean-0/scenario.yaml --output again" in text
    assert "fedsim compare demo-mean-0 again/demo-mean-0" in text
    assert "demo-mean-0 0 abababababababab" in text


def test_three_sentences_of_a_run():
    setting, effect, kept = sentences([run(asr=0.9, accuracy=0.8)])
    assert setting == (
        "2 of 6 clients that train mlp on digits attack with backdoor + boost in rounds 2–4; "
        "the server's rule is mean."
    )
    assert effect == "Attack success is 90.0 % (1.0 % on the clean twin) at 80.0 % accuracy."
    assert kept == (
        "With nobody attacking, the same rule reaches 82.0 % accuracy; it gave no weight to 0.0 % "
        "of the attacking updates and to 0.0 % of the benign."
    )


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (run(adversary=False, asr=None, twin=False),
         ["Nobody attacks: 6 clients train mlp on digits, aggregated by mean.",
          "Accuracy ends at 80.0 %.", "This shows what the rule costs, not what it withstands."]),
        (run(asr=None, weights=False),
         ["", "The attack costs this rule 2.0 points of accuracy: it shows little harm.",
          "With nobody attacking, the same rule reaches 82.0 % accuracy."]),
        (run(asr=None, twin=False, weights=False),
         ["", "No attack success applies and no clean twin was run: only accuracy is shown.",
          "What the attack costs in accuracy is not known: no clean twin was run."]),
    ],
    ids=["nobody attacks", "untargeted", "untargeted without twin"],
)  # fmt: skip
def test_the_story_says_no_more_than_was_measured(one, told):
    found = sentences([one])
    assert [a for a, b in zip(found, told, strict=True) if b] == [b for b in told if b]


def test_the_story_of_a_sweep_over_attacks_of_both_kinds():
    runs = [
        attacked(rule, attack=attack, asr=asr)
        for rule in ("mean", "median")
        for attack, asr in (("boost", 0.9), ("sign_flip", None))
    ]
    setting, effect, kept = sentences(runs)
    assert setting.endswith("attack in 2 ways: boost and sign_flip; 2 rules are compared.")
    assert effect.endswith("loses the most accuracy: 2.0 points.")
    assert kept == "When nobody attacks, accuracy is 82.0 %."


def test_marks_by_role_and_weight():
    figure = updates_figure({"demo": STANDING})
    benign, acting, dormant = figure.axes[0].collections
    assert [to_hex(one.get_edgecolor()[0]).upper() for one in (benign, acting, dormant)] == [
        BENIGN, MALICIOUS, DORMANT,
    ]  # fmt: skip
    assert acting.get_offsets().tolist() == [[-1, 2]]
    assert to_hex(acting.get_facecolor()[0]) == "#ffffff"
    assert benign.get_sizes()[0] > acting.get_sizes()[0]
    told = written(figure)
    assert {"first component (75 %)", "second component (12 %)"} <= set(told)
    assert {"benign", "acting", "dormant", "hollow: weight 0"} <= set(told)


def test_updates_without_weights_or_aggregate_or_anybody():
    rows = [{**row, "weight": None} for row in STANDING["clients"]]
    figure = updates_figure({"demo": {**STANDING, "clients": rows, "aggregate": None}})
    assert len({one.get_sizes()[0] for one in figure.axes[0].collections}) == 1
    assert "what the server made of them" not in written(figure)
    assert updates_figure({"demo": {**STANDING, "clients": []}}) is None


def test_where_updates_stood_is_on_the_page(tmp_path):
    one = run(tmp_path)
    one.path.mkdir()
    assert read_updates(one.path) is None
    (one.path / "updates.json").write_text(json.dumps(STANDING))
    text = words(html(one, "demo"))
    assert "The updates of round 3, the last with an attack, as sent" in text


@pytest.mark.parametrize(
    "junk", [b"", b"[]", b"{}", json.dumps({**STANDING, "zero": [1]}).encode()]
)
def test_damaged_updates_are_one_line(tmp_path, junk):
    one = run(tmp_path)
    one.path.mkdir()
    (one.path / "updates.json").write_bytes(junk)
    with pytest.raises(InputError, match=r"updates\.json: .*(damaged|not a JSON object)"):
        html(one, "demo")


def test_cost_by_phase():
    (row,) = costs(group([timed(rounds=4)])).grid.rows
    assert row == ["demo", "3", "1", "0", "25.0", "12 s", "2 / s"]
    assert costs(group([run()])).grid is None


def test_dormant_clients_are_grey_and_weight_zero_is_hollow():
    one = run(caught=True)
    _, picture = weight_figure(one).axes
    pixels = picture.images[0].get_array()
    cells = pixels.reshape(6, 5, 6, 5, 3)
    rounds_asleep, rounds_awake = [0, 4, 5], [1, 2, 3]
    assert np.ptp(cells[:2][:, :, rounds_asleep], axis=-1).max() == 0, "grey"
    assert to_hex(cells[0, 0, 1, 0]).upper() == MALICIOUS
    assert (cells[:2, 1:4, rounds_awake, 1:4] == 1).all(), "hollow"
    assert (cells[2:, 2, :, 2] < 1).any(axis=-1).all()
    assert read(html(one, "demo"))
