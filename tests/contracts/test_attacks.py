"""Every built-in attack, a row each, against the laws that all attacks obey."""

import pickle
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.attacks import attacks
from fedsim.models import models
from fedsim.seeding import seeded
from fedsim.tensors import flatten_params
from fedsim.types import AdversaryView


class Row(NamedTuple):
    """Parameters and claims: the least knowledge, and whether row i depends on own row i alone.

    `needs_model` says that it is to be shown a network and images: then d is that network's.
    """

    name: str
    parameters: dict[str, Any]
    knowledge: str = "own"
    rowwise: bool = False
    needs_model: bool = False


ROWS = [
    *[
        Row("adaptive", {"objective": objective, "budget": 30}, knowledge="defense")
        for objective in ("deviation", "directed_deviation", "backdoor")
    ],
    Row("boost", {"factor": 2.5}, rowwise=True),
    Row("boost", {"factor": "auto"}, rowwise=True),
    Row("boost", {"factor": 100, "buffers": True}, rowwise=True),
    Row("fang_krum", {}, knowledge="defense"),
    Row("fang_trimmed_mean", {}, knowledge="defense"),
    Row("fang_trimmed_mean", {"bound": 5.0}, knowledge="defense"),
    Row("free_rider", {}),
    Row("free_rider", {"std": 0.1, "base": "previous"}),
    Row("gaussian", {"std": 0.5}),
    Row("gaussian", {"std": 0.5, "mode": "add"}),
    Row("inner_product_manipulation", {}),
    Row("little_is_enough", {}),
    Row("little_is_enough", {"z": 1.5}),
    Row("mimic", {}, knowledge="benign"),
    Row("mimic", {"client": 2}, knowledge="benign"),
    *[Row("min_max", {"direction": direction}) for direction in ("unit", "std", "sign")],
    *[Row("min_sum", {"direction": direction}) for direction in ("unit", "std", "sign")],
    Row(
        "potrojan",
        {"trigger": {"name": "patch", "size": 1}, "target": 1},
        rowwise=True,
        needs_model=True,
    ),
    Row("sign_flip", {"factor": 3.0}, rowwise=True),
    Row("zero", {}, rowwise=True),
]

rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.parameters}")
quick = settings(max_examples=15)


def view(row: Row, own: torch.Tensor) -> AdversaryView:
    """The view at the knowledge that the row claims is enough."""
    benign = torch.randn(6, own.shape[1], generator=torch.Generator().manual_seed(1)).to(own)
    return AdversaryView(
        own=own,
        num_clients=len(own) + 6,
        params=torch.zeros_like(own[0]),
        benign=None if row.knowledge == "own" else benign,
        aggregate=(lambda updates: updates.mean(0)) if row.knowledge == "defense" else None,
        generator=torch.Generator().manual_seed(2),
        **(shown() if row.needs_model else {}),
    )


def shown() -> dict[str, Any]:
    """A small network and images for it."""
    with seeded(3, "model"):
        model = models.build("mlp", hidden=[3])((1, 2, 2), 2).eval().requires_grad_(False)
    images = 0.5 * torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(4))
    return {"model": model, "data": (images, torch.arange(8) % 2)}


def own_rows(row: Row, m: int, d: int, **how: Any) -> torch.Tensor:
    """Rows of normal values, as long as the network has parameters if it takes part."""
    return torch.randn(m, len(flatten_params(shown()["model"])) if row.needs_model else d, **how)


def send(row: Row, own: torch.Tensor) -> torch.Tensor:
    sent = attacks.build(row.name, **row.parameters)(view(row, own))
    return sent[0] if isinstance(sent, tuple) else sent


def test_every_built_in_attack_has_a_row():
    built_in = {
        name for name in attacks.names() if attacks.get(name).function.__module__[:7] == "fedsim."
    }
    assert built_in == {row.name for row in ROWS}


@rows
def test_declared_knowledge(row):
    assert attacks.get(row.name).facts.get("knowledge", "own") == row.knowledge


@rows
def test_declared_need_of_the_model(row):
    assert attacks.get(row.name).facts.get("model", False) == row.needs_model


@rows
@quick
@given(
    m=st.integers(1, 4),
    d=st.integers(1, 6),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_laws(row, m, d, seed, dtype):
    own = own_rows(row, m, d, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    before = own.clone()
    sent = send(row, own)

    assert torch.equal(own, before)
    assert sent.shape == own.shape
    assert sent.dtype == dtype
    assert sent.isfinite().all()
    assert torch.equal(send(row, own), sent)
    if row.rowwise:
        order = torch.randperm(m, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(send(row, own[order]), sent[order])


@rows
def test_a_zero_update_stays_finite(row):
    assert send(row, torch.zeros_like(own_rows(row, 2, 3))).isfinite().all()


@rows
def test_pickles_and_cites(row):
    attack, own = attacks.build(row.name, **row.parameters), own_rows(row, 2, 3)
    again = pickle.loads(pickle.dumps(attack))(view(row, own))
    assert torch.equal(again[0] if isinstance(again, tuple) else again, send(row, own))
    assert "Paper:" in (attack.func.__doc__ or "")
