"""A federation of unequal clients, and both trainers' replies for all of them."""

from dataclasses import replace

import pytest
import torch

from fedsim.scenario import Scenario
from fedsim.simulation import Visit, pool, prepare, visit, visit_together
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import DataSource, Split

TREE = {
    "name": "cohort",
    "seed": 4,
    "rounds": 3,
    "data": {
        "dataset": {"name": "synthetic", "train": 120, "test": 10},
        "partition": {"name": "dirichlet", "alpha": 1.0},
    },
    "model": {"name": "mlp", "hidden": [12]},
    "clients": {
        "total": 7,
        "per_round": 7,
        "training": {
            **{"epochs": 2, "batch_size": 6, "lr": 0.2},
            **{"momentum": 0.9, "weight_decay": 0.01, "lr_decay": 0.5},
        },
    },
}


def world(tmp_path, attack=None, **changes):
    """The federation of `TREE` with three attackers, if there is an `attack`."""
    adversary = {} if attack is None else {"adversary": {"clients": 3, **attack}}
    scenario = Scenario.model_validate({**TREE, **adversary, **changes})
    return prepare(scenario, DataSource(tmp_path))


def everybody(federation, round_=2):
    """An order for each client; the attackers' with all that an adversary may hand them."""
    draws = torch.Generator().manual_seed(0)
    previous = torch.randn(len(flatten_params(federation.build_model())), generator=draws)
    pattern = torch.rand(federation.data.shape, generator=draws)
    acting = pool(federation.scenario, round_) if federation.scenario.adversary else ()
    secrets = (pattern.to(federation.device), previous.to(federation.device))
    return [
        Visit(client, round_, client in acting, *(secrets if client in acting else ()))
        for client in range(len(federation.clients))
    ]


def in_double(federation, orders):
    """Both with images, patterns and parameters in float64."""
    train = federation.data.train
    train = Split(train.images.double(), train.labels)
    orders = [
        replace(
            order,
            pattern=None if order.pattern is None else order.pattern.double(),
            previous_update=None if order.pattern is None else order.previous_update.double(),
        )
        for order in orders
    ]
    return replace(federation, data=replace(federation.data, train=train)), orders


def model_of(federation):
    """A workplace in the precision of the images, its parameters and buffers."""
    model = federation.build_model().to(federation.data.train.images.dtype)
    return model, flatten_params(model), flatten_buffers(model)


def trained(federation, orders, trainer=visit_together):
    """The replies of a trainer; `visit` is called for each order."""
    model, params, buffers = model_of(federation)
    if trainer is visit:
        return [visit(federation, model, params, buffers, order) for order in orders]
    return trainer(federation, model, params, buffers, orders)


def assert_same(joint, apart, **tolerance):
    """The replies are equal, and every client has moved."""
    assert [reply.client for reply in joint] == [reply.client for reply in apart]
    for one, other in zip(apart, joint, strict=True):
        assert other.update.dtype == one.update.dtype
        assert other.update.isfinite().all()
        torch.testing.assert_close(other.update, one.update, **tolerance)
        assert torch.equal(other.buffers, one.buffers)
        assert other.num_examples == one.num_examples
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert one.update.norm() > 1e-3
