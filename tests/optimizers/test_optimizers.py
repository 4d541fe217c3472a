"""Server optimizers against closed forms, torch's own and a loop in NumPy."""

import io

import numpy as np
import pytest
import torch

from fedsim.optimizers import optimizers
from fedsim.registry import plugins

UPDATES = torch.randn(12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def steps(name, updates=UPDATES, **parameters):
    optimizer, state, taken = optimizers.build(name, **parameters), {}, []
    for update in updates:
        step, state = optimizer(update, state)
        taken.append(step)
    return torch.stack(taken)


def test_sgd_steps_along_the_update():
    assert torch.equal(steps("sgd"), UPDATES)


def test_momentum_is_that_of_torch():
    params = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.SGD([params], lr=0.5, momentum=0.9)
    for update in UPDATES:
        params.grad = -update
        theirs.step()
    torch.testing.assert_close(0.5 * steps("momentum").sum(dim=0), params.detach())


def test_momentum_of_a_constant_update_is_a_geometric_sum():
    constant = torch.ones(20, 1, dtype=torch.float64)
    assert steps("momentum", constant)[-1].item() == pytest.approx((1 - 0.9**20) / (1 - 0.9))
    assert torch.equal(steps("momentum", beta=0.0), UPDATES)


def reference(kind, beta1, beta2, tau):
    """The recurrences of Reddi et al., one coordinate at a time."""
    taken = np.zeros(UPDATES.shape)
    for coordinate, values in enumerate(UPDATES.numpy().T):
        m, v = 0.0, tau * tau
        for t, u in enumerate(values):
            m = beta1 * m + (1 - beta1) * u
            if kind == "adam":
                v = beta2 * v + (1 - beta2) * u * u
            else:
                v = v - (1 - beta2) * u * u * np.sign(v - u * u)
            taken[t, coordinate] = m / (np.sqrt(v) + tau)
    return taken


@pytest.mark.parametrize("kind", ["adam", "yogi"])
@pytest.mark.parametrize("given", [{}, {"beta1": 0.5, "beta2": 0.7, "tau": 0.5}, {"beta1": 0.0}])
def test_adaptive_ones_against_numpy(kind, given):
    defaults = {"beta1": 0.9, "beta2": 0.99, "tau": 1e-3}
    expected = reference(kind, **{**defaults, **given})
    np.testing.assert_allclose(steps(kind, **given).numpy(), expected)


def test_adam_after_many_constant_updates_is_near_the_sign():
    constant = torch.tensor([[2.0, -0.5]], dtype=torch.float64).repeat(3000, 1)
    last = steps("adam", constant)[-1]
    torch.testing.assert_close(
        last, torch.tensor([1.0, -1.0], dtype=torch.float64), rtol=3e-3, atol=0
    )


@pytest.mark.parametrize("kind", ["adam", "yogi"])
def test_nothing_moves_before_the_first_update(kind):
    assert torch.equal(steps(kind, torch.zeros(3, 4)), torch.zeros(3, 4))


NAMES = [plugin.name for plugin in plugins("optimizers")]


@pytest.mark.parametrize("name", NAMES)
def test_state_is_a_value_that_can_be_saved(name):
    optimizer = optimizers.build(name)
    _, state = optimizer(UPDATES[0], {})
    kept = {key: value.clone() for key, value in state.items()}
    update = UPDATES[1].clone()
    plain, _ = optimizer(update, state)
    assert torch.equal(update, UPDATES[1])
    assert all(torch.equal(state[key], kept[key]) for key in kept)
    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(0)
    resumed, _ = optimizer(update, torch.load(file, weights_only=True))
    assert torch.equal(plain, resumed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_that_of_the_update(name, dtype):
    assert steps(name, UPDATES.to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("momentum", {"beta": 1.0}),
        ("adam", {"beta2": -0.1}),
        ("yogi", {"tau": 0}),
        ("sgd", {"lr": 1}),
    ],
)
def test_bad_parameters_are_refused(name, bad):
    with pytest.raises(ValueError, match=f"{name}: {next(iter(bad))}"):
        optimizers.build(name, **bad)
