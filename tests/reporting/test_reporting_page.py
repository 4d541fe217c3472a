"""The page: its numbers are those of the records, and it asks nothing of the outside."""

import json
import re
import xml.etree.ElementTree as Tree
from html.parser import HTMLParser

import numpy as np
import pytest
from safetensors.numpy import save_file

from fedsim.errors import InputError
from fedsim.reporting import html, preview_html, report
from fedsim.reporting.measure import success_words
from fedsim.results import Run, RunFolder, write_sweep
from tests.reporting.reporting_records import run, scenario


class Page(HTMLParser):
    """Checks that tags nest, and gathers cells and text."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.text, self.tags = [], [], [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def read(text):
    """The page, parsed, after the checks that every page must pass."""
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"<script|<link|<img|<iframe|@import|javascript:|\bon\w+=\"", text)
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        Tree.fromstring(drawing)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    return Page(text)


def words(text):
    return " ".join(" ".join(read(text).text).split())


def test_scores_are_those_of_the_summary():
    page = read(html(run(accuracy=0.8123, asr=0.4567), "demo"))
    assert page.cells[:6] == ["accuracy %", "ASR %", "ASR clean %", "drop", "recall %", "FPR %"]
    assert page.cells[6:12] == ["81.2", "45.7", "1.0", "2.0", "0.0", "0.0"]


def test_a_sweep_has_a_row_for_each_rule_and_one_sentence():
    runs = [
        run(rule=rule, seed=seed, asr=asr, caught=asr < 0.5)
        for rule, asr in {"mean": 0.97, "krum": 0.03}.items()
        for seed in (0, 1)
    ]
    text = html(runs, "demo")
    assert read(text).cells.count("97.0 ± 0.0") == 1
    assert "The attack works against mean (97.0 ± 0.0 % success); krum holds it" in words(text)
    assert "± is the 95 % interval of the mean over 2 seeds." in words(text)


def test_the_question_and_the_facts_stand_on_top():
    text = words(html(run(), "demo", question="# Does it work?"))
    assert "Does it work?" in text
    assert "2 clients: backdoor (target 2, trigger patch (size 3)) + boost (factor 10)" in text


def test_red_flags_are_sentences_with_their_rounds():
    flag = {"flag": "replies_dropped", "text": "3 replies were dropped.", "rounds": [2, 3, 4, 9]}
    text = words(html([run(flags=[flag]), run(rule="median", flags=[flag])], "demo"))
    assert "Before you trust these numbers" in text
    assert "3 replies were dropped. Rounds: 2–4, 9. (mean; median)" in text
    assert "Before you trust" not in words(html(run(), "demo"))


def test_null_weights_are_said_in_words():
    text = words(html(run(rule="median", weights=False), "demo"))
    assert "median gave no weights to clients" in text
    assert "Detection over the rounds" not in text


def test_even_weights_are_said_in_words_and_chosen_ones_drawn():
    even = html(run(), "demo")
    assert "mean gave every update of a round the same weight" in words(even)
    assert "Weight given by" not in words(even)
    assert "Weight given by krum (seed 0)" in words(html(run(rule="krum", caught=True), "demo"))


def test_a_rule_that_drops_nobody_gets_a_sentence_not_a_picture():
    assert "No update was ever given weight zero" in words(html(run(), "demo"))


def test_durability_by_rule():
    seeds = [
        run(seed=seed, durability={"last_round": 4, "at": {"10": at}, "rounds_to_half": half})
        for seed, (at, half) in enumerate([(0.5, 7), (0.5, None)])
    ]
    cells = read(html(seeds, "demo")).cells
    assert cells[cells.index("last attack") :][:7] == [
        *("last attack", "+10", "rounds to half"),
        *("demo", "4", "50.0 ± 0.0", "7 (1 never)"),
    ]


def test_accuracy_by_class_with_a_class_that_is_not_there():
    cells = read(html(run(), "demo")).cells
    assert cells[cells.index("2") :][:5] == ["2", "demo", "50.0", "–", "90.0"]


def test_of_many_classes_the_worst_are_named():
    one = run()
    one.summary["accuracy_per_class"] = [i / 100 for i in range(100)]
    assert "0 (0.0), 1 (1.0), 2 (2.0), 3 (3.0), 4 (4.0)" in read(html(one, "demo")).cells


def test_failures_are_counted_with_their_rounds():
    one = run(failures={"timeout": 2, "non_finite": 1})
    for row in one.clients[:3]:
        row["failed"] = "timeout"
    assert "demo, seed 0: 2 timeout and 1 non finite (rounds 1)." in words(html(one, "demo"))


def test_every_null_at_once():
    one = run(asr=None, weights=False, twin=False, adversary=False, norms=False, rounds=1)
    one.summary.update(accuracy_per_class=None, accuracy=None)
    for record in one.rounds:
        record.update(accuracy=None)
    page = read(html(one, "demo"))
    assert page.cells[:5] == ["accuracy %", "ASR %", "–", "–", "run"]
    assert "nobody attacks" in "".join(page.text)


def test_no_finished_run():
    text = words(html([], "demo", missing=["demo-a: failed (it broke)"]))
    assert "No numbers from demo-a: failed (it broke)" in text
    assert "No finished run" in text


def test_hostile_text_stays_text(tmp_path):
    bad = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
    flag = {"flag": bad, "text": bad, "rounds": []}
    one = run(tmp_path, rule=bad[:8], name="demo", flags=[flag], failures={bad: 1})
    one.scenario["server"]["aggregator"]["name"] = bad
    one.path = tmp_path / "run"
    one.path.mkdir()
    (one.path / "environment.json").write_text(json.dumps({"cpu": bad, bad: bad}))
    text = html([one, run(rule="mean", labels={})], bad, question=bad, missing=[bad])
    assert "<script>" not in text
    assert "<img" not in text
    assert "alert(" in words(text)


def test_the_resolved_scenario_and_the_environment_are_listed(tmp_path):
    one = run(tmp_path)
    one.path.mkdir()
    made = {"python": "3.11", "ray": None, "data": {"train": "aa", "test": "bb"}}
    (one.path / "environment.json").write_text(json.dumps(made))
    text = words(html(one, "demo"))
    assert "python 3.11 data train aa, test bb" in text
    assert "aggregator: {name: mean}" in text


def test_the_trigger_of_the_run_is_shown(tmp_path):
    one = run(tmp_path)
    one.path.mkdir()
    assert "The trigger" not in words(html(one, "demo"))
    clean = np.zeros((2, 1, 8, 8), dtype=np.float32)
    save_file({"clean": clean, "stamped": clean + 1}, one.path / "examples.safetensors")
    text = html(one, "demo")
    assert "The trigger" in words(text)
    assert "data:image/png;base64," in text


def test_a_damaged_picture_is_one_line(tmp_path):
    one = run(tmp_path)
    one.path.mkdir()
    (one.path / "examples.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match="is not a safetensors file"):
        html(one, "demo")


def test_the_same_page_every_time():
    runs = [run(rule=rule) for rule in ("mean", "median")]
    assert html(runs, "demo") == html(runs, "demo")


@pytest.mark.parametrize(
    ("count", "clients", "rounds"), [(1, 300, 200), (4, 20, 60), (12, 20, 200)]
)
def test_a_page_stays_small(count, clients, rounds):
    runs = [run(rule=f"rule_{i}", clients=clients, rounds=rounds) for i in range(count)]
    assert len(html(runs, "demo").encode()) < 400_000


def write(folder, one, finish=True):
    """A made-up run as a real run folder."""
    store = RunFolder(folder / one.path.name)
    store.start(one.scenario, {"device": "cpu"})
    for record in one.rounds:
        rows = [row for row in one.clients if row["round"] == record["round"]]
        store.append({**record, "seconds": {"train": 0.1}}, rows)
    if finish:
        store.finish({}, one.summary)
    return Run(store.path)


def test_report_of_a_real_folder(tmp_path):
    one = write(tmp_path, run(accuracy=0.7777))
    page = report(one, tmp_path / "report.html")
    assert "77.8" in read(page.read_text()).cells
    assert words(page.read_text()).startswith("demo")


def test_report_of_a_sweep_names_the_cells_without_numbers(tmp_path):
    ones = [write(tmp_path, run(rule=rule)) for rule in ("mean", "median")]
    cells = [
        {"labels": {"server.aggregator": rule}, "run": one.path.name, "hash": "h",
         "status": "finished", "error": None}
        for rule, one in zip(("mean", "median"), ones, strict=True)
    ]  # fmt: skip
    failed = {**cells[0], "run": "demo-krum-0", "status": "failed", "error": "n is too small"}
    sweep = write_sweep(
        tmp_path / "sweep", name="demo", hash="x", scenario={}, cells=[*cells, failed]
    )
    text = words(report(sweep, tmp_path / "report.html").read_text())
    assert "No numbers from demo-krum-0: failed (n is too small)" in text
    both = report([sweep, ones[0]], tmp_path / "both.html").read_text()
    assert "runs 2" in words(both)


@pytest.mark.parametrize(
    ("poison", "told"),
    [
        ({"name": "backdoor", "target": 2}, "test images not of class 2, stamped"),
        ({"name": "backdoor", "target": 2, "source": 7}, "test images of class 7, stamped"),
        ({"name": "backdoor", "mode": "all_to_all"}, "predicts as the class after their own"),
        ({"name": "label_flip", "source": 1, "target": 7}, "test images of class 1"),
        ({"name": "label_flip", "mode": "all_to_one", "target": 7}, "not of class 7"),
        ({"name": "label_flip", "mode": "reversed"}, "mirrored class"),
        ({"name": "label_flip", "mode": "random"}, "No attack success applies"),
        ({"name": "semantic", "target": 2}, "kept out of training"),
        ({"name": "instance_key", "target": 2}, "100 fresh noisy copies"),
        ({"name": "feature_collision"}, "the base class"),
        ({"name": "mine.py:poison"}, "what the poison wants"),
        (None, "No attack success applies"),
    ],
)
def test_how_success_was_measured(poison, told):
    one = run()
    one.scenario["adversary"]["poison"] = poison
    assert told in success_words([one])


def test_runs_with_different_poisons_share_no_sentence():
    other = run(rule="median")
    other.scenario["adversary"]["poison"] = {"name": "semantic", "target": 1}
    assert "each run's poison" in success_words([run(), other])


def test_a_preview_tells_what_a_run_would_cost_and_what_will_not_work():
    counts = np.array([[5, 5], [10, 0], [0, 0], [1, 9]])
    clean = np.zeros((2, 1, 8, 8))
    text = words(
        preview_html(
            scenario(),
            counts,
            malicious=[1, 3],
            poisoned_share={1: 0.0, 3: 0.5},
            examples={"clean": clean, "stamped": clean + 1},
            acting=[(2, [1, 3]), (3, [1, 3])],
            seconds=92.0,
            question="# Why?",
        )
    )
    for told in (
        "Preview of demo", "Why?", "about 1 min 32 s", "4 clients hold 30 images, 0 to 10 each.",
        "2 of them are malicious and hold 66.7 % of the images.",
        "16.7 % of all images are poisoned.",
        "Attacks are scheduled in rounds 2–3.", "Nothing is poisoned at client 1",
        "1 clients have no image at all.", "The trigger",
    ):  # fmt: skip
        assert told in text


def test_a_preview_without_an_adversary():
    text = words(preview_html(scenario(adversary=False), np.ones((4, 3))))
    assert "nobody attacks" in text
    assert "Before you start it" not in text
    assert "estimated time" not in text


def test_a_preview_of_an_attack_that_never_comes():
    text = words(preview_html(scenario(), np.ones((4, 3)), malicious=[1], poisoned_share={1: 0.5}))
    assert "No attack is scheduled in the 6 rounds." in text
