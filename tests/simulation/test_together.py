"""Which networks many clients train at once, in what chunks, and how the engine is asked for it."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, dropout

from fedsim.errors import ScenarioError
from fedsim.flower import run_rounds
from fedsim.flower.engine import make_runner, num_workers
from fedsim.scenario import load
from fedsim.simulation import together, visit
from fedsim.simulation.stacked import _bytes_kept, _noise, survey, why_apart
from fedsim.simulation.together import chunked
from fedsim.simulation.unfolded import UnfoldedConvolutions
from tests.simulation.cohorts import TREE, assert_same, everybody, in_double, trained, world

SHAPE = (1, 8, 8)
EXACT = {"rtol": 0.0, "atol": 1e-12}
BACKDOOR = {
    **{"name": "backdoor", "target": 2, "per_batch": 2},
    "trigger": {"name": "patch", "size": 2},
}


def layers(*middle):
    """A network of a flattening, `middle` and a linear layer."""
    return nn.Sequential(nn.Flatten(), *middle, nn.Linear(64, 3))


class Function(nn.Module):
    """A linear layer after any function of the images."""

    def __init__(self, function):
        super().__init__()
        self.linear, self.function = nn.Linear(64, 3), function

    def forward(self, images):
        return self.linear(self.function(images).flatten(1))


def frozen():
    model = layers()
    model[-1].bias.requires_grad_(False)
    return model


def idle():
    model = layers()
    model.unused = nn.Parameter(torch.ones(2))
    return model


APART = {
    "changes its buffers": lambda: layers(nn.BatchNorm1d(64)),
    "mixes the images": lambda: layers(nn.BatchNorm1d(64, track_running_stats=False)),
    "draws at random": lambda: Function(lambda images: dropout(images, 0.5)),
    "not trained": frozen,
    "without a part": idle,
    "cannot be stacked": lambda: Function(lambda x: x if x.sum().item() > 0 else -x),
}


@pytest.mark.parametrize("reason", APART)
def test_a_network_that_cannot_be_stacked_says_why(reason):
    assert reason in why_apart(APART[reason](), SHAPE)


@pytest.mark.parametrize("middle", [[], [nn.GroupNorm(2, 64)], [nn.LayerNorm(64)], [nn.Tanh()]])
def test_other_networks_can(middle):
    assert why_apart(layers(*middle), SHAPE) is None


def test_looking_draws_nothing_from_the_global_generator():
    model = layers(nn.Dropout(0.5))
    before = torch.random.get_rng_state()
    assert why_apart(model, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_clients_of_a_network_that_cannot_are_trained_one_by_one_to_the_bit(tmp_path, caplog):
    changes = {
        "data": {"dataset": {"name": "synthetic", "train": 30, "test": 2}},
        "model": {"name": "resnet18", "width": 2, "norm": "batch"},
    }
    attack = {"poison": BACKDOOR}
    federation = world(tmp_path, attack, **changes)
    orders = everybody(federation)
    replies = trained(federation, orders)
    for one, other in zip(trained(federation, orders, visit), replies, strict=True):
        assert torch.equal(one.update, other.update)
        assert torch.equal(one.buffers, other.buffers)
        assert one.loss == other.loss
    told = [record.message for record in caplog.records]
    assert told == [
        "clients are trained one after the other: the network changes its buffers in training "
        "(as batch normalisation does)"
    ]


def test_chunks_hold_what_fits_and_those_alike():
    costs = [(4, 10), (9, 1), (4, 12), (1, 1), (50, 70), (4, 11)]
    chunks = list(chunked(range(6), lambda k: costs[k], budget=45))
    assert chunks == [[4], [1, 2], [5, 0, 3]]
    for chunk in chunks[1:]:
        dearest = max(costs[k][0] for k in chunk)
        assert sum(dearest + costs[k][1] for k in chunk) <= 45
    assert list(chunked([], lambda k: costs[k], budget=45)) == []


@pytest.fixture
def groups(monkeypatch):
    """The sizes of the groups that are trained at once."""
    seen, real = [], together.train_together

    def train(model, params, lessons):
        seen.append(len(lessons))
        return real(model, params, lessons)

    monkeypatch.setattr(together, "train_together", train)
    return seen


def test_chunks_give_the_same_rows_as_one(tmp_path, monkeypatch, groups):
    federation = world(tmp_path, {"poison": BACKDOOR, "training": {"epochs": 3, "batch_size": 9}})
    exactly = in_double(federation, everybody(federation))
    whole = trained(*exactly)
    assert groups == [7]
    monkeypatch.setattr(together, "CPU_BUDGET", 150_000)
    assert_same(trained(*exactly), whole, **EXACT)
    assert len(groups) > 2
    assert sum(groups[1:]) == 7
    monkeypatch.setattr(together, "CPU_BUDGET", 1)
    assert_same(trained(*exactly), whole, **EXACT)
    assert groups[-7:] == [1] * 7


def test_a_gpu_that_is_full_after_all_gets_half_the_clients(tmp_path, monkeypatch, groups):
    federation = world(tmp_path)
    exactly = in_double(federation, everybody(federation))
    whole, real = trained(*exactly), together.train_together

    def train(model, params, lessons):
        if len(lessons) > 2:
            raise torch.cuda.OutOfMemoryError
        return real(model, params, lessons)

    monkeypatch.setattr(together, "train_together", train)
    groups.clear()
    assert_same(trained(*exactly), whole, **EXACT)
    assert groups == [1, 2, 2, 2]


@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet18"])
def test_what_a_step_keeps_grows_as_estimated(tmp_path, name):
    parameters = {"width": 2} if name == "resnet18" else {}
    size = 28 if name == "lenet5" else 8
    data = {"dataset": {"name": "synthetic", "train": 20, "test": 2, "size": size}}
    model = world(tmp_path, data=data, model={"name": name, **parameters}).build_model()
    shape = (1, size, size)
    found = survey(model, shape)
    assert found.apart is None
    few, many = (_bytes_kept(model, _noise(model, shape, count)) for count in (8, 40))
    assert found.bytes_per_image == pytest.approx((many - few) / 32, rel=0.05)
    assert found.bytes_per_image > 4 * size * size


@pytest.mark.parametrize("geometry", [{}, {"stride": 2}, {"padding": (1, 2)}, {"dilation": (2, 1)}])
@pytest.mark.parametrize("bias", [True, False])
def test_an_unfolded_convolution_is_a_convolution(geometry, bias):
    conv = nn.Conv2d(3, 4, (3, 2), bias=bias, **geometry).double()
    images = torch.rand(5, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    expected = conv(images)
    with UnfoldedConvolutions():
        found = conv(images)
    torch.testing.assert_close(found, expected, **EXACT)
    for given in (images, conv.weight):
        slopes = [
            torch.autograd.grad(maps.square().sum(), given, retain_graph=True)[0]
            for maps in (found, expected)
        ]
        torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-10)


def test_convolutions_in_groups_are_left_to_torch():
    images, weight = torch.rand(2, 4, 5, 5), torch.rand(4, 2, 3, 3)
    expected = conv2d(images, weight, groups=2, padding="same")
    with UnfoldedConvolutions():
        assert torch.equal(conv2d(images, weight, groups=2, padding="same"), expected)


def played(tmp_path, attack=None, **engine):
    """The last state and the records of a run, the times apart."""
    records = []
    federation = world(tmp_path, attack, engine=engine)
    state = run_rounds(federation, None, lambda _, record: records.append(record))
    return state, [record.clients for record in records[1:]]


def test_a_run_of_the_vectorised_trainer_is_that_of_the_sequential_one(tmp_path, groups):
    attack = {
        "poison": BACKDOOR,
        "training": {"epochs": 3},
        "attack": {"name": "boost", "factor": 2.0},
    }
    sequential, records = played(tmp_path, attack, trainer="sequential")
    automatic, _ = played(tmp_path, attack)
    assert torch.equal(automatic.params, sequential.params)
    assert groups == []
    joint, joint_records = played(tmp_path, attack, trainer="vectorised", workers="auto")
    assert groups == [7, 7, 7]
    torch.testing.assert_close(joint.params, sequential.params, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(joint_records, records, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one == {
                **other,
                "loss": pytest.approx(other["loss"], rel=1e-3),
                "norm": pytest.approx(other["norm"], rel=1e-3),
                "weight": pytest.approx(other["weight"]),
            }


def test_a_client_that_raises_fails_alone(tmp_path, caplog):
    poison = tmp_path / "shy.py"
    poison.write_text(
        "def shy(images, labels, view):\n"
        "    if view.round == 2 and view.attacker == 1:\n"
        "        raise OSError('no data today')\n"
        "    return images, labels\n"
    )
    attack = {"poison": {"name": f"{poison}:shy"}, "clients": [1, 4, 5]}
    _, records = played(tmp_path, attack, trainer="vectorised")
    failed = [[line["client"] for line in lines if line["failed"]] for lines in records]
    assert failed == [[], [4], []]
    assert "no data today" in caplog.text


@pytest.mark.parametrize(
    ("engine", "place"),
    [
        ({"trainer": "vectorised", "name": "ray"}, "engine.trainer: vectorised trains in one"),
        ({"trainer": "vectorised", "workers": 2}, "engine.workers: must be 1 with trainer"),
    ],
)
def test_workers_do_not_train_together(engine, place):
    with pytest.raises(ScenarioError, match=place):
        load({**TREE, "engine": engine})


@pytest.mark.parametrize(
    ("engine", "device", "runner"),
    [
        ({}, "cpu", "Sequential"),
        ({}, "cuda", "Together"),
        ({"workers": "auto"}, "cuda", "Together"),
        ({"trainer": "sequential"}, "cuda", "Sequential"),
        ({"trainer": "vectorised"}, "cpu", "Together"),
        ({"trainer": "vectorised", "workers": "auto"}, "cpu", "Together"),
    ],
)
def test_auto_trains_together_on_cuda_alone(tmp_path, engine, device, runner):
    federation = replace(world(tmp_path, engine=engine), device=torch.device(device))
    made = make_runner(federation)
    made.close()
    assert type(made).__name__ == runner
    if engine.get("trainer") == "vectorised":
        assert num_workers(federation.scenario) == 1
