"""Every error line, verbatim. MINIMAL has seven lines, so what a case adds stands in line 8."""

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import Scenario, load, yaml12
from tests.scenario.scenario_texts import MINIMAL, minimal

ALL = (
    "Known: adversary, after, clean_twin, clients, data, engine, evaluate_every, faults, matrix, model, "
    "monitors, name, rounds, seed, server."
)
DBA = "adversary: {clients: 4, poison: {name: distributed_backdoor, target: 2, per_batch: 3, "

ADDED = {  # text added to MINIMAL → the line, without its "a.yaml:"
    # keys
    "sevrer: {}": "8:1: sevrer: unknown key. Did you mean 'server'?",
    "matrx: {}": "8:1: matrx: unknown key. Did you mean 'matrix'?",
    "zebra: []": f"8:1: zebra: unknown key. {ALL}",
    "1: 2": f"8:1: 1: unknown key. {ALL}",
    '"a\\nb": 1': f"8:1: a\\nb: unknown key. {ALL}",
    "monsters: []": "8:1: monsters: unknown key. Did you mean 'monitors'?",
    "after: [{name: prunning}]": (
        "8:10: after.0.name: unknown inspection, repair or filter 'prunning'. Did you mean 'pruning'?"
    ),
    "after: [{name: pruning}]": "8:9: after.0: 'pruning' needs root data. Set server.root_data.",
    "server: {min_reply: 1}": "8:10: server.min_reply: unknown key. Did you mean 'min_replies'?",
    "seed: 1\nseed: 2": "9:1: seed: appears twice; the first is at 8:1. Remove one.",
    "data: {partition: {name: iid}, partition: {name: iid}}": (
        "8:32: data.partition: appears twice; the first is at 8:8. Remove one."
    ),
    # types and ranges
    "seed: yes": "8:1: seed: must be a whole number; got 'yes'.",
    "seed: 010": "8:1: seed: must be a whole number; got '010'.",
    "seed: 0x1f": "8:1: seed: must be a whole number; got '0x1f'.",
    "seed: 12:30": "8:1: seed: must be a whole number; got '12:30'.",
    "seed: 1_000": "8:1: seed: must be a whole number; got '1_000'.",
    "seed: 2026-01-01": "8:1: seed: must be a whole number; got '2026-01-01'.",
    "seed: 1e3": "8:1: seed: must be a whole number; got 1000.0.",
    "seed: true": "8:1: seed: must be a whole number; got true.",
    "seed:": "8:1: seed: must be a whole number; got null.",
    "seed: -1": "8:1: seed: must be greater than or equal to 0; got -1.",
    "clean_twin: yes": "8:1: clean_twin: must be true or false; got 'yes'.",
    "evaluate_every: 0": "8:1: evaluate_every: must be greater than 0; got 0.",
    "server: 3": "8:1: server: must be a mapping; got 3.",
    "engine: {device: gpu}": ("8:10: engine.device: must be 'auto', 'cpu' or 'cuda'; got 'gpu'."),
    "engine: {workers: 0}": "8:10: engine.workers: must be greater than 0 or 'auto'; got 0.",
    "engine: {workers: all}": "8:10: engine.workers: must be a whole number or 'auto'; got 'all'.",
    "engine: {num_cpus: .inf}": "8:10: engine.num_cpus: must be a finite number; got inf.",
    "server: {lr: 1e999}": "8:10: server.lr: must be a finite number or a mapping; got inf.",
    "server: {lr: x}": "8:10: server.lr: must be a number or a mapping; got 'x'.",
    "server: {lr: -1}": "8:10: server.lr: must be greater than 0 or a mapping; got -1.",
    "server: {lr: {0: 1.0}}": "8:15: server.lr.0: must be greater than 0; got 0.",
    "server: {lr: {a: 1.0}}": "8:15: server.lr.a: must be a whole number; got 'a'.",
    "server: {lr: {1: x}}": "8:15: server.lr.1: must be a number; got 'x'.",
    "server: {lr: {2: 1.0}}": "8:10: server.lr: must begin with round 1; got rounds [2].",
    "server: {lr: {}}": "8:10: server.lr: must begin with round 1; got rounds [].",
    "server: {lr: {11: 0.1, 1: 1.0}}": (
        "8:10: server.lr: must name its rounds in ascending order; got [11, 1]."
    ),
    "server: {root_data: 0}": (
        "8:10: server.root_data: must be a number of images or a share in (0, 1); got 0."
    ),
    "server: {root_data: 1.0}": (
        "8:10: server.root_data: must be a number of images or a share in (0, 1); got 1.0."
    ),
    "server: {root_data: x}": "8:10: server.root_data: must be a number; got 'x'.",
    "server: {min_replies: 11}": (
        "8:10: server.min_replies: must be at most clients.per_round, 10; got 11."
    ),
    # plug-ins
    "server: {aggregator: {name: maen}}": (
        "8:23: server.aggregator.name: unknown aggregator 'maen'. Did you mean 'mean'?"
    ),
    "server: {aggregator: {name: 3}}": "8:23: server.aggregator.name: must be text; got 3.",
    "server: {aggregator: {nmae: mean}}": "8:10: server.aggregator: needs a name.",
    "server: {aggregator: mean}": (
        "8:10: server.aggregator: must be {name: ...} with its parameters; got 'mean'."
    ),
    "server: {aggregator: {name: mean, wieghting: uniform}}": (
        "8:35: server.aggregator.wieghting: unknown parameter of 'mean'. Did you mean 'weighting'?"
    ),
    "server: {preaggregators: {name: clip, norm: 1}}": (
        "8:10: server.preaggregators: must be a list; got {name: clip, norm: 1}."
    ),
    "server: {preaggregators: [clip]}": (
        "8:27: server.preaggregators.0: must be {name: ...} with its parameters; got 'clip'."
    ),
    "server: {preaggregators: [{name: clip}]}": (
        "8:27: server.preaggregators.0.norm: is required."
    ),
    "server: {preaggregators: [{name: clip, norm: -1}]}": (
        "8:40: server.preaggregators.0.norm: must be greater than 0 or 'median'; got -1."
    ),
    "server: {preaggregators: [{name: clip, norm: x}]}": (
        "8:40: server.preaggregators.0.norm: must be a number or 'median'; got 'x'."
    ),
    f"{DBA}trigger: {{name: dba, size: 4, gap: [1, a], shift: 0}}}}}}": (
        "8:126: adversary.poison.trigger.gap.1: must be a whole number; got 'a'."
    ),
    f"{DBA}trigger: {{name: dba, size: 4, gap: x, shift: 0}}}}}}": (
        "8:117: adversary.poison.trigger.gap: must be a whole number or a list; got 'x'."
    ),
    f"{DBA}trigger: {{name: patsh}}}}}}": (
        "8:97: adversary.poison.trigger.name: unknown trigger 'patsh'. Did you mean 'patch'?"
    ),
    "adversary: {clients: 4, attack: boost}": (
        "8:25: adversary.attack: must be {name: ...} with its parameters; got 'boost'."
    ),
    "adversary: {clients: 4, attack: {name: bost}}": (
        "8:34: adversary.attack.name: unknown attack 'bost'. Did you mean 'boost'?"
    ),
    "adversary: {clients: 4, attack: {name: boost, factor: 0}}": (
        "8:47: adversary.attack.factor: must be greater than 0 or 'auto'; got 0."
    ),
    "adversary: {clients: 4, attack: [{name: boost, factr: 2}]}": (
        "8:48: adversary.attack.0.factr: unknown parameter of 'boost'. Did you mean 'factor'?"
    ),
    # the adversary's clients
    "adversary: {}": ("8:1: adversary: needs the number of its clients. Give clients or fraction."),
    "adversary: {clients: 1, fraction: 0.1}": (
        "8:25: adversary.fraction: excludes clients. Keep one of the two."
    ),
    "adversary: {clients: many}": (
        "8:13: adversary.clients: must be a whole number or a list; got 'many'."
    ),
    "adversary: {clients: 101}": (
        "8:13: adversary.clients: must be at most clients.total, 100; got 101."
    ),
    "adversary: {clients: [1, -2]}": (
        "8:26: adversary.clients.1: must be greater than or equal to 0; got -2."
    ),
    "adversary: {clients: [1, 100]}": (
        "8:26: adversary.clients.1: must be below clients.total, 100, as ids start at 0; got 100."
    ),
    "adversary: {clients: [1, 2, 1]}": "8:29: adversary.clients.2: names client 1 a second time.",
    "adversary: {fraction: 1.1}": (
        "8:13: adversary.fraction: must be less than or equal to 1; got 1.1."
    ),
    "adversary: {fraction: 0.001}": (
        "8:13: adversary.fraction: is less than half a client: 0.001 of 100. "
        "Use 0 for no attackers."
    ),
    "clean_twin: true": (
        "8:1: clean_twin: needs an adversary, whose attack the twin leaves out. Remove the key."
    ),
    # what attacks and poisons need
    "adversary: {clients: 4, attack: {name: spy}}": (
        "8:25: adversary.attack: 'spy' needs knowledge 'benign'; the scenario grants 'own'."
    ),
    "adversary: {clients: 4, attack: [{name: boost, factor: 2}, {name: spy}]}": (
        "8:60: adversary.attack.1: 'spy' needs knowledge 'benign'; the scenario grants 'own'."
    ),
    "adversary: {clients: 3, poison: {name: crowd}}": (
        "8:25: adversary.poison: 'crowd' needs at least 4 attackers; got 3."
    ),
    # how attackers train
    "adversary: {clients: 3, training: {epochs: 1, steps: 2}}": (
        "8:47: adversary.training.steps: excludes epochs. Keep one of the two."
    ),
    "adversary: {clients: 3, training: {lr_milestones: [0.8, 0.2]}}": (
        "8:36: adversary.training.lr_milestones: must be ascending shares of the local epochs; "
        "got [0.8, 0.2]."
    ),
    "adversary: {clients: 3, training: {lr_milestones: [1.0]}}": (
        "8:52: adversary.training.lr_milestones.0: must be less than 1; got 1.0."
    ),
    # the schedule
    "adversary: {clients: 3, schedule: {first: 70}}": (
        "8:36: adversary.schedule.first: must be at most rounds, 60; got 70."
    ),
    "adversary: {clients: 3, schedule: {last: 70}}": (
        "8:36: adversary.schedule.last: must be at most rounds, 60; got 70."
    ),
    "adversary: {clients: 3, schedule: {first: 5, last: 4}}": (
        "8:46: adversary.schedule.last: must be at least first, 5; got 4."
    ),
    "adversary: {clients: 3, schedule: {rounds: [5, 61]}}": (
        "8:48: adversary.schedule.rounds.1: must be at most rounds, 60; got 61."
    ),
    "adversary: {clients: 3, schedule: {rounds: [5, 4]}}": (
        "8:36: adversary.schedule.rounds: must be ascending; got [5, 4]."
    ),
    "adversary: {clients: 3, schedule: {rounds: []}}": (
        "8:36: adversary.schedule.rounds: must have at least 1 item; got []."
    ),
    "adversary: {clients: 3, schedule: {rounds: [5], every: 2}}": (
        "8:49: adversary.schedule.every: excludes rounds. Keep one of the two."
    ),
    "adversary: {clients: 3, schedule: {turns: each}}": (
        "8:36: adversary.schedule.turns: 'each' needs the rounds one by one. "
        "Give adversary.schedule.rounds."
    ),
    "adversary: {clients: 3, schedule: {turns: each, rounds: [1, 2]}}": (
        "8:36: adversary.schedule.turns: 'each' needs a round for every attacker; "
        "got 2 rounds for 3 attackers."
    ),
    "adversary: {clients: 1, schedule: {turns: each, rounds: [1, 2]}}": (
        "8:36: adversary.schedule.turns: 'each' needs a round for every attacker; "
        "got 2 rounds for 1 attackers."
    ),
    "adversary: {clients: 2, schedule: {turns: each, rounds: [1, 2], pool: redrawn}}": (
        "8:36: adversary.schedule.turns: 'each' needs attackers that stay the same. "
        "Set pool: fixed."
    ),
    "adversary: {clients: [2], schedule: {pool: redrawn}}": (
        "8:38: adversary.schedule.pool: needs a number or fraction of attackers, not their ids."
    ),
    "adversary: {clients: 11, schedule: {forced: true}}": (
        "8:37: adversary.schedule.forced: needs room for 11 acting attackers in a cohort of 10. "
        "Raise clients.per_round."
    ),
    # the matrix
    "matrix: {sevrer.aggregator: [1]}": (
        "8:10: matrix.sevrer.aggregator: names nothing: 'sevrer' is an unknown key. "
        "Did you mean 'server'?"
    ),
    "matrix: {server.agregator: [1]}": (
        "8:10: matrix.server.agregator: names nothing: 'agregator' is an unknown key. "
        "Did you mean 'aggregator'?"
    ),
    "matrix: {model.hiden: [[1]]}": (
        "8:10: matrix.model.hiden: names nothing: 'hiden' is an unknown parameter of 'mlp'. "
        "Did you mean 'hidden'?"
    ),
    "matrix: {rounds.x: [1]}": (
        "8:10: matrix.rounds.x: names nothing: rounds is 60, not a mapping that could hold 'x'."
    ),
    "matrix: {matrix.a: [1]}": "8:10: matrix.matrix.a: must be a key such as server.aggregator.",
    "matrix: {a..b: [1]}": "8:10: matrix.a..b: must be a key such as server.aggregator.",
    "matrix: []": "8:1: matrix: must be a mapping of key to list; got [].",
    "matrix: {seed: []}": "8:10: matrix.seed: must be a list of at least one value; got [].",
    "matrix: {seed: 1}": "8:10: matrix.seed: must be a list of at least one value; got 1.",
    "matrix: {seed: [0, -1]}": "8:20: seed: must be greater than or equal to 0; got -1.",
    "matrix: {server.aggregator: [{name: mean}, {name: mean, wegihting: 1}]}": (
        "8:57: server.aggregator.wegihting: unknown parameter of 'mean'. Did you mean 'weighting'?"
    ),
    "matrix: {clients.total: [100, 5]}": (
        "6:3: clients.per_round: must be at most clients.total, 5; got 10."
    ),
    "matrix: {seed: [3, 1, 3]}": "8:1: matrix: makes cells 1 and 3 the same run. Keep one of them.",
    "matrix: {engine.name: [ray, inprocess]}": (
        "8:1: matrix: makes cells 1 and 2 the same run. Keep one of them."
    ),
    "matrix: {server.lr: [2.0], server: [{lr: 1.0}]}": (
        "8:28: matrix.server: replaces what an earlier key sets. Write it first."
    ),
    f"matrix: {{seed: {list(range(101))}, server.lr: {list(range(1, 101))}}}": (
        "8:1: matrix: must make at most 10000 cells; got 10100."
    ),
}


@pytest.mark.usefixtures("needy")
@pytest.mark.parametrize(("added", "line"), ADDED.items(), ids=range(len(ADDED)))
def test_something_added(refused, added, line):
    assert refused(MINIMAL + added) == f"a.yaml:{line}"


CHANGED = [  # what is replaced in MINIMAL, by what, the line
    ("rounds: 60", "rounds: 0", "2:1: rounds: must be greater than 0; got 0."),
    ("rounds: 60\n", "", "1:1: rounds: is required."),
    ("lr: 0.1", "momentum: 0.9", "7:3: clients.training.lr: is required."),
    (
        "lr: 0.1",
        "lr: 0.1, momentum: 1",
        "7:23: clients.training.momentum: must be less than 1; got 1.",
    ),
    ("lr: 0.1", "lr: 0", "7:14: clients.training.lr: must be greater than 0; got 0."),
    (
        "lr: 0.1",
        "lr: 0.1, steps: 3, epochs: 1",
        "7:23: clients.training.steps: excludes epochs. Keep one of the two.",
    ),
    (
        "lr: 0.1",
        "lr: 0.1, epochs: null",
        "7:23: clients.training.epochs: must be a number where steps is not.",
    ),
    (
        "per_round: 10",
        "per_round: 101",
        "6:3: clients.per_round: must be at most clients.total, 100; got 101.",
    ),
    ("name: a", "name: ../a", "1:1: name: must match ^[A-Za-z][A-Za-z0-9._-]{0,99}$; got '../a'."),
    ("{name: mlp}", "mlp", "3:1: model: must be a mapping; got 'mlp'."),
    ("{name: mlp}", "{nmae: mlp}", "3:1: model: needs a name."),
    (
        "{name: mlp}",
        "{name: mpl}",
        "3:9: model.name: unknown model 'mpl'. Did you mean 'mlp'?",
    ),
    (
        "{name: mlp}",
        "{name: mlp, hiden: [3]}",
        "3:20: model.hiden: unknown parameter of 'mlp'. Did you mean 'hidden'?",
    ),
    (
        "{name: mlp}",
        "{name: mlp, hidden: [0]}",
        "3:29: model.hidden.0: must be greater than or equal to 1; got 0.",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), CHANGED)
def test_something_changed(refused, old, new, line):
    assert refused(MINIMAL.replace(old, new)) == f"a.yaml:{line}"


TEXTS = {  # a whole file → the line
    "": "1:1: scenario: is empty. Write name, rounds, model and clients at least.",
    "# nothing\n": "1:1: scenario: is empty. Write name, rounds, model and clients at least.",
    "- a\n- b": "1:1: scenario: must be a mapping; got [a, b].",
    "3": "1:1: scenario: must be a mapping; got 3.",
    "a: b\n---\nc: d": "2:1: scenario: holds more than one document. Keep one scenario to a file.",
    "a:\n\tb: 1": "2:1: scenario: is indented with a tab. Use spaces.",
    "a: b: c": "1:5: scenario: is not valid YAML: mapping values are not allowed here.",
    "a: [1": "1:6: scenario: is not valid YAML: expected ',' or ']', but got '<stream end>'.",
    "a: *b": "1:4: scenario: is not valid YAML: found undefined alias 'b'.",
    'a: "\\U00110000"': "1:1: scenario: is not valid YAML.",
    "a: \0": "1:4: scenario: has the control character 0x00. Remove it.",
    "a: 1\nb: \x07": "2:4: scenario: has the control character 0x07. Remove it.",
    b"a: 1\nb: \xff": "2:4: scenario: is not UTF-8. Save the file as UTF-8.",
    "a: 1".encode("utf-16"): "1:1: scenario: is not UTF-8. Save the file as UTF-8.",
    "#" * 1_000_001: "1:1: scenario: is larger than 1000000 bytes.",
    "[" * 200_000: "1:65: scenario: is nested deeper than 64.",
    "a: " + "{a: " * 100_000: "1:253: scenario: is nested deeper than 64.",
    "a: &a [*a]": "1:4: scenario: is nested deeper than 64, or an alias holds itself.",
    "a: &a {b: 1}\n<<: *a": "2:1: <<: merge keys are not supported. Write the keys out.",
    "a: !!python/object:os.system x": "1:4: a: has the tag python/object:os.system. Remove it.",
    "a: !mine 3": "1:4: a: has the tag !mine. Remove it.",
    "a: !!str 3": "1:4: a: has the tag str. Remove it.",
    "a: !!set {b}": "1:4: a: has the tag set. Remove it.",
    "? [a]\n: b": "1:3: scenario: has a key that is neither text nor a whole number.",
    "a: {true: b}": "1:5: a: has a key that is neither text nor a whole number.",
    "null: b": "1:1: scenario: has a key that is neither text nor a whole number.",
    'a: {b: "\\ud800"}': "1:8: a.b: is not text: it holds half of a surrogate pair.",
    "a: " + "9" * 301: "1:4: a: is a number of more than 300 characters.",
    "a: " + "x" * 4001: "1:4: a: is a text of more than 4000 characters.",
}


@pytest.mark.parametrize(("text", "line"), TEXTS.items(), ids=range(len(TEXTS)))
def test_text_that_is_no_scenario(refused, text, line):
    assert refused(text) == f"a.yaml:{line}"


def test_too_many_values(refused, monkeypatch):
    monkeypatch.setattr(yaml12, "MAX_NODES", 10)
    text = "a: [1, 2, 3, 4, 5, 6, 7, 8, 9]"
    assert refused(text) == "a.yaml:1:26: scenario: has over 10 values."


def test_an_alias_bomb_is_refused(refused):
    text = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n"
    line = "1:8: scenario: has over 50000 values once its aliases are written out."
    assert refused(text) == f"a.yaml:{line}"


OVERRIDES = {
    "rouns=3": "rouns: unknown key. Did you mean 'rounds'?",
    "rounds=x": "rounds: must be a whole number; got 'x'.",
    "rounds=": "rounds: must be a whole number; got null.",
    "rounds": "rounds: must be key=value.",
    "=3": "scenario: must be a key such as server.aggregator.name.",
    "a..b=3": "a..b: must be a key such as server.aggregator.name.",
    "rounds.x=3": "rounds: is 60, not a mapping that could hold 'x'.",
    "server.aggregator.name=maen": (
        "server.aggregator.name: unknown aggregator 'maen'. Did you mean 'mean'?"
    ),
    "server.preaggregators=[{name: clip, norm: -3}]": (
        "server.preaggregators.0.norm: must be greater than 0 or 'median'; got -3."
    ),
    "server.lr=[1": "server.lr: is not valid YAML: expected ',' or ']', but got '<stream end>'.",
    "server={lr: 1, lr: 2}": "server.lr: appears twice; the first is at 1:2. Remove one.",
    "adversary.poison.name=backdor": (
        "adversary.poison.name: unknown poison 'backdor'. Did you mean 'backdoor'?"
    ),
    "adversary.knowledge=own": (
        "adversary: needs the number of its clients. Give clients or fraction."
    ),
    "matrix.seed=[0, -1]": "seed: must be greater than or equal to 0; got -1.",
    "matrix={sed: [0]}": "matrix.sed: names nothing: 'sed' is an unknown key. Did you mean 'seed'?",
    "matrix.seed=[]": "matrix.seed: must be a list of at least one value; got [].",
}


@pytest.mark.parametrize(("override", "line"), OVERRIDES.items())
def test_an_override_is_named_as_it_was_written(refused, override, line):
    assert refused(MINIMAL, override) == f"--set {override}: {line}"


def test_overrides_of_list_items(refused):
    clip = "server.preaggregators=[{name: clip, norm: 3}]"
    assert refused(MINIMAL, clip, "server.preaggregators.0.norm=-4") == (
        "--set server.preaggregators.0.norm=-4: server.preaggregators.0.norm: "
        "must be greater than 0 or 'median'; got -4."
    )
    assert refused(MINIMAL, clip, "server.preaggregators.1.norm=4") == (
        "--set server.preaggregators.1.norm=4: server.preaggregators: "
        "is a list of 1; '1' is no index into it."
    )


def test_an_override_that_changes_the_name_leaves_a_stale_parameter(refused):
    text = MINIMAL + "server:\n  aggregator: {name: mean, weighting: uniform}\n"
    assert refused(text, "server.aggregator.name=auror") == (
        "a.yaml:9:28: server.aggregator.weighting: unknown parameter of 'auror'. "
        "Known: alpha, features, observe_rounds, tau."
    )


def test_an_override_that_the_matrix_would_undo(refused):
    text = MINIMAL + "matrix: {seed: [1], server.aggregator: [{name: mean}]}"
    assert refused(text, "seed=2") == (
        "--set seed=2: seed: is set by the matrix. Override matrix.seed with a list instead."
    )
    assert refused(text, "server.aggregator.name=mean") == (
        "--set server.aggregator.name=mean: server.aggregator.name: is set by the matrix. "
        "Override matrix.server.aggregator with a list instead."
    )


def test_files_of_the_user(refused, folder):
    text = MINIMAL + "server: {aggregator: {name: mine.py:rule}}"
    line = "a.yaml:8:23: server.aggregator.name: "
    assert refused(text) == f"{line}{folder}/mine.py is not a file."
    (folder / "mine.py").write_text("def other(updates): ...")
    assert refused(text) == f"{line}{folder}/mine.py has no function 'rule'."
    (folder / "mine.py").write_text("1 / 0")
    assert refused(text) == (
        f"{line}{folder}/mine.py cannot be imported: ZeroDivisionError: division by zero."
    )
    weights = MINIMAL.replace("{name: mlp}", "{name: mlp, weights: w.safetensors}")
    assert refused(weights) == (
        f"a.yaml:3:20: model.weights: {folder}/w.safetensors is not a file that can be read."
    )


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("nope.yaml", "nope.yaml: scenario: there is no such file."),
        ("", ".: scenario: is not a file."),
        ("a\0b", "a\\x00b: scenario: there is no such file."),
        (3, "scenario: scenario: must be a path or a mapping; got int."),
        ({}, "scenario: name: is required."),
        (minimal(rounds=0), "scenario: rounds: must be greater than 0; got 0."),
        (minimal(rounds=object), "scenario: rounds: must be plain values; got type."),
        (minimal(rounds=10**9999), "scenario: rounds: is too large a number."),
        (minimal(name="x" * 9999), "scenario: name: is a text of more than 4000 characters."),
        (
            minimal(data={"dataset": {None: 1}}),
            "scenario: data.dataset: has a key that is neither text nor a whole number.",
        ),
    ],
)
def test_other_sources(source, line):
    with pytest.raises(ScenarioError) as caught:
        load(source)
    assert str(caught.value) == line


def test_a_mapping_that_holds_itself():
    endless = minimal()
    endless["data"] = endless
    with pytest.raises(ScenarioError, match="is too large or nested too deeply"):
        load(endless)


def test_overrides_given_as_a_mapping():
    with pytest.raises(ScenarioError) as caught:
        load(minimal(), {"rounds": 3, "server.aggregator": {"name": "maen"}})
    assert str(caught.value) == (
        "--set server.aggregator={name: maen}: server.aggregator.name: "
        "unknown aggregator 'maen'. Did you mean 'mean'?"
    )


def test_a_cell_places_later_errors(folder):
    (folder / "a.yaml").write_text(
        "data:\n  dataset: {name: digits}\n" + MINIMAL + "adversary:\n  clients: 3\n"
        "  attack: {name: boost, factor: 2}\n"
    )
    cell = load("a.yaml", ["clients.timeout=3", "server.root_data=9999"])[0]
    lines = {
        ("data", "dataset"): "a.yaml:2:3: data.dataset: no.",
        ("data", "partition"): "a.yaml:1:1: data.partition: no.",
        ("adversary", "attack", 0): "a.yaml:12:3: adversary.attack: no.",
        ("adversary", "attack", 0, "factor"): "a.yaml:12:3: adversary.attack.factor: no.",
        ("server", "root_data"): "--set server.root_data=9999: server.root_data: no.",
        ("seed",): "a.yaml:1:1: seed: no.",
    }
    assert {where: str(cell.error(where, "no.")) for where in lines} == lines
    assert cell.place(("rounds",)) == "a.yaml:4:1"


def test_a_scenario_made_without_load_is_checked_too():
    with pytest.raises(ValueError, match=r"must be at most clients.total, 100; got 101"):
        Scenario.model_validate(
            minimal(clients={"total": 100, "per_round": 101, "training": {"lr": 0.1}})
        )
