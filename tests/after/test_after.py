"""Checks one after another: what they may see, what they make of the model, what is measured."""

import copy
import gc
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
import torch
from torch import nn

from fedsim.errors import RunError, ScenarioError
from fedsim.registry import registry
from fedsim.scenario import load
from fedsim.simulation import prepare
from fedsim.simulation.after import behind, check, measure, suspect_of
from fedsim.suspects import Filtered
from fedsim.types import DataSource
from tests.after.trained import cell_of

NOWHERE = DataSource(Path("none"))
TOYS = f"{Path(__file__).parent / 'toys.py'}:"


@pytest.fixture(scope="module")
def federation():
    return prepare(cell_of("centralized", 0).scenario, NOWHERE)


@pytest.fixture(scope="module")
def pair(trained):
    return trained("centralized", 0)


def choices(*named):
    scenario = cell_of("centralized", 0, after=[{"name": TOYS + n, **more} for n, more in named])
    return scenario.scenario.after


# What a check may see


def tensors_within(start):
    """All tensors that can be reached from an object: attributes, closures, cells, containers."""
    seen, found, queue = set(), [], [start]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, ModuleType | type):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, FunctionType):
            queue += [cell.cell_contents for cell in one.__closure__ or ()]
            queue += [one.__defaults__, one.__kwdefaults__]
        elif isinstance(one, nn.Module):
            queue += [vars(one)]
        else:
            queue += gc.get_referents(one)
    return found


def holds(tensors, images):
    """Whether an image is a row of one of the tensors."""
    size = images[0].numel()
    rows = [t.detach().reshape(-1, size) for t in tensors if t.numel() and t.numel() % size == 0]
    floats = images.flatten(1).float()
    return any((torch.cdist(row.float(), floats) == 0).any() for row in rows if row.ndim == 2)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_suspect_holds_the_root_data_and_no_image_of_the_test_or_the_clients(normalize):
    scenario = cell_of("centralized", 0).scenario
    model = scenario.model.model_copy(update={"normalize": normalize})
    federation = prepare(scenario.model_copy(update={"model": model}), NOWHERE)
    suspect = suspect_of(federation, federation.build_model())
    reached = tensors_within(suspect)
    clients = federation.data.train.take(federation.clients[0]).images
    assert holds(reached, federation.root.images)
    assert not holds(reached, federation.data.test.take(torch.arange(360)).images)
    assert not holds(reached, clients)
    assert holds(tensors_within(partial(print, federation)), clients)


def test_writing_into_a_suspect_harms_nobody(federation, pair):
    before = copy.deepcopy(pair.backdoored.state_dict())
    root = federation.root.images.clone()
    suspect = suspect_of(federation, pair.backdoored)
    suspect.images.fill_(7)
    for parameter in suspect.model.parameters():
        parameter.data.zero_()
    assert torch.equal(federation.root.images, root)
    after = pair.backdoored.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_suspect_is_still_and_needs_no_gradient(federation):
    suspect = suspect_of(federation, federation.build_model().train())
    assert not suspect.model.training
    assert not any(parameter.requires_grad for parameter in suspect.model.parameters())
    assert suspect.shape == (1, 8, 8)
    assert suspect.num_classes == 10


def test_every_position_draws_its_own_numbers_and_the_same_again(federation):
    model = federation.build_model()

    def draw(position):
        return torch.rand(3, generator=suspect_of(federation, model, position).generator).tolist()

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


@pytest.mark.parametrize("normalize", [False, True])
def test_fresh_networks_have_the_form_of_the_model_and_numbers_of_their_own(normalize):
    scenario = cell_of("centralized", 0).scenario
    model = scenario.model.model_copy(update={"normalize": normalize})
    federation = prepare(scenario.model_copy(update={"model": model}), NOWHERE)
    known = federation.build_model()
    fresh = suspect_of(federation, known).fresh
    one, again, other = (fresh(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert type(one) is type(known)
    assert {n: t.shape for n, t in one.state_dict().items()} == {
        n: t.shape for n, t in known.state_dict().items()
    }
    weights = [next(model.parameters()) for model in (one, again, other, known)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    images = federation.data.test.take(torch.arange(3)).images
    known.load_state_dict(one.state_dict())
    assert torch.equal(one(images), known(images))


# What a check does


def test_a_repair_is_what_the_next_sees_and_a_verdict_goes_to_the_repair(federation, pair):
    named = choices(("says_so", {}), ("forgets", {}), ("newborn", {}))
    verdict, forgot, born = check(federation, pair.backdoored, named)
    assert verdict.record["verdict"] == {
        "backdoored": True,
        "score": 3.0,
        "threshold": 2.0,
        "target": 2,
    }
    assert verdict.record["after"] is None
    assert verdict.trigger is not None
    assert forgot.record["before"] == verdict.record["before"]
    assert forgot.record["before"]["attack_success_rate"] >= 0.9
    assert forgot.record["after"]["attack_success_rate"] == 0
    assert forgot.record["after"] == born.record["before"]
    assert forgot.record["verdict"] is None
    assert born.record["after"]["accuracy"] < 0.5
    assert [one.record["kind"] for one in (verdict, forgot, born)] == [
        "inspections",
        "repairs",
        "repairs",
    ]


def test_before_is_what_the_run_measured_last(federation, pair):
    scores = measure(federation, pair.backdoored)
    summary = pair.run.summary
    assert scores == {key: summary[key] for key in ("accuracy", "attack_success_rate")}


def test_a_check_that_finds_nothing_to_work_on_changes_nothing(federation, pair):
    (found,) = check(federation, pair.backdoored, choices(("forgets", {})))
    assert found.problem == "forgets: nobody has suspected a class"
    assert not found.repaired
    assert found.model is pair.backdoored
    assert found.record["after"] is None


def reject_none(images):
    return Filtered(images, torch.zeros(len(images), dtype=torch.bool))


def reject_all(images):
    return Filtered(images, torch.ones(len(images), dtype=torch.bool))


def blank(images):
    return Filtered(torch.zeros_like(images), torch.zeros(len(images), dtype=torch.bool))


def test_a_filter_that_does_nothing_catches_nothing(federation, pair):
    scores, caught = behind(federation, pair.backdoored, reject_none)
    assert scores == measure(federation, pair.backdoored)
    assert caught == {"triggered": 0.0, "clean": 0.0}


def test_a_model_that_was_not_put_into_evaluation_mode_is_measured_in_it(federation):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    before = copy.deepcopy(model.state_dict())
    scores, _ = behind(federation, model, reject_none)
    assert scores == measure(federation, model)
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_rejected_input_is_neither_right_nor_the_target(federation, pair):
    scores, caught = behind(federation, pair.backdoored, reject_all)
    assert scores == {"accuracy": 0.0, "attack_success_rate": 0.0}
    assert caught == {"triggered": 1.0, "clean": 1.0}


def test_what_a_filter_changes_is_seen_by_the_model(federation, pair):
    scores, caught = behind(federation, pair.backdoored, blank)
    says = int(pair.backdoored(torch.zeros(1, 1, 8, 8)).argmax())
    assert scores["accuracy"] == pytest.approx((pair.test.labels == says).double().mean().item())
    assert 0.8 < caught["clean"] < 1


def test_caught_is_counted_among_those_that_were_right_or_hit(federation, pair):
    (found,) = check(federation, pair.clean, choices(("bright_corner", {})))
    assert found.record["before"]["attack_success_rate"] < 0.2
    assert found.record["caught"] == {"triggered": 1.0, "clean": 0.0}


def test_nothing_is_caught_where_nothing_is_measured(pair):
    federation = prepare(
        cell_of("centralized", 0, adversary=None, clean_twin=False).scenario, NOWHERE
    )
    scores, caught = behind(federation, pair.clean, reject_none)
    assert scores["attack_success_rate"] is None
    assert caught == {"triggered": None, "clean": 0.0}


def user_check(tmp_path, decorator, body):
    kind = decorator.partition(".")[0]
    code = f"from fedsim.{kind} import {kind}\n@{decorator}\ndef mine(suspect):\n    {body}\n"
    (tmp_path / "mine.py").write_text(code)
    return cell_of("centralized", 0, after=[{"name": f"{tmp_path}/mine.py:mine"}]).scenario.after


@pytest.mark.parametrize(
    ("decorator", "body", "text"),
    [
        ("inspections.declare()", "return 3.0", "must return a Verdict"),
        ("repairs.register", "return suspect.images", "must return the network repaired"),
        ("repairs.register", "return suspect.model[:2]", "network of another form"),
        ("filters.declare()", "return None", "must return a Filter"),
        ("filters.declare()", "return lambda x: (x[:1], x[:1, 0, 0, 0] > 2)", "mark for each"),
        ("filters.declare()", "return lambda x: x.nothing", "raised AttributeError"),
        ("repairs.register", "raise KeyError('no')", "after.0: .*mine raised KeyError: 'no'"),
    ],
)
def test_what_a_check_must_not_return_is_told(tmp_path, federation, pair, decorator, body, text):
    with pytest.raises(RunError, match=text):
        list(check(federation, pair.backdoored, user_check(tmp_path, decorator, body)))


# What a scenario may ask for


def refusal(**keys):
    tree = cell_of("centralized", 0).scenario.resolved()
    with pytest.raises(ScenarioError) as error:
        load({**tree, **keys})
    return str(error.value)


def test_a_function_of_the_users_must_say_of_which_kind_it_is():
    text = refusal(after=[{"name": TOYS + "undeclared"}])
    assert text.startswith("scenario: after.0.name: ")
    assert "undeclared is not declared. Put @inspections.declare(), @repairs.register or" in text


def test_unknown_names_and_monitors_among_the_checks_are_refused():
    assert refusal(after=[{"name": "neural_cleans"}]).endswith("Did you mean 'neural_cleanse'?")
    text = refusal(after=[{"name": TOYS + "counts"}])
    assert text.endswith("'counts' is declared as one of the monitors.")
    text = refusal(monitors=[{"name": TOYS + "forgets"}])
    assert text.endswith("'forgets' is declared as one of the repairs.")
    assert "unknown parameter" in refusal(after=[{"name": "pruning", "fal": 1}])


@pytest.mark.parametrize(
    ("key", "name"), [("after", "pruning"), ("monitors", "class_audit"), ("after", "unlearning")]
)
def test_what_needs_clean_data_needs_a_server_that_has_some(key, name):
    text = refusal(**{key: [{"name": name}], "server": {}})
    assert text == f"scenario: {key}.0: '{name}' needs root data. Set server.root_data."


def test_a_check_that_needs_no_data_needs_no_root_data():
    after = [{"name": TOYS + "says_so"}]
    assert cell_of("centralized", 0, after=after, server={}).scenario.after[0].plugin.kind == (
        "inspections"
    )


def test_every_check_can_stand_in_a_scenario():
    for kind in ("inspections", "repairs", "filters"):
        for name in registry(kind).names():
            (one,) = cell_of("centralized", 0, after=[{"name": name}]).scenario.after
            assert (one.plugin.kind, one.name) == (kind, name)


def test_no_checks_leave_the_hash_and_the_resolved_scenario_as_they_were():
    plain = cell_of("centralized", 0).scenario
    assert not {"after", "monitors"} & set(plain.resolved())
    assert cell_of("centralized", 0, after=[], monitors=[]).scenario.hash8 == plain.hash8
    one = cell_of("centralized", 0, after=[{"name": "pruning"}]).scenario
    other = cell_of("centralized", 0, after=[{"name": "pruning", "fall": 0.2}]).scenario
    watched = cell_of("centralized", 0, monitors=[{"name": "class_audit"}]).scenario
    assert len({plain.hash8, one.hash8, other.hash8, watched.hash8}) == 4
    assert load(one.resolved())[0].scenario == one
