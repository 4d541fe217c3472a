"""Mimic: all malicious clients copy one benign client, so that it counts far too much."""

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.attacks import attacks
from fedsim.strict import Count, Positive
from fedsim.types import AdversaryView, State


@attacks.needs("benign")
def mimic(
    view: AdversaryView, *, client: Count | None = None, warmup: Positive = 10
) -> tuple[Float[Tensor, "m d"], State]:
    """One benign client's row, as every row: that of `client`, or of the one that stands out most.

    Without `client`, it is the row x_i with the largest |zᵀ x_i|, z the direction in which benign
    rows vary most. z is learned in the first `warmup` attacked rounds, t = 0, 1, …, by a step of
    power iteration each, while the attack is already on:
    μ ← (t μ + mean_i x_i) / (t + 1), v = Σ_i (x_i − μ)(x_i − μ)ᵀ z, z ∝ t z + v / ‖v‖.
    It starts at random. Who is copied in the last of these rounds is copied from then on. Where the
    client to be copied has no benign row in a round, the row that stands out most takes its place.
    Without benign rows, own rows are sent as they are.

    Paper: Karimireddy et al., ICLR 2022, arXiv:2006.09365.
    Differs: in the paper every client is in every round. |zᵀ x_i|, since the sign of z is chance,
        where the authors' code takes zᵀ x_i.

    Args:
        client: the id of the client to copy; the number of its row, from 0, where rows have no ids.
        warmup: attacked rounds in which z is learned.

    Raises:
        ValueError: rows have no ids, and there are benign ones but none of this number.

    >>> view = AdversaryView(torch.zeros(1, 1), 4, torch.zeros(1), torch.tensor([[1.0], [2], [9]]))
    >>> mimic(view)[0], mimic(view, client=1)[0]
    (tensor([[9.]]), tensor([[2.]]))
    """
    rows = view.benign
    if rows is None or not len(rows):
        return view.own.clone(), view.state
    ids = tuple(range(len(rows))) if view.benign_ids is None else view.benign_ids
    if client is not None and client >= len(rows) and view.benign_ids is None:
        raise ValueError(f"mimic: client {client} needs {client + 1} benign rows; got {len(rows)}")
    state = view.state
    if client not in ids:
        state = _learned(rows, view, warmup)
        row = int((rows @ state["direction"].to(rows)).abs().argmax())
        if "client" not in state and int(state["rounds"]) >= warmup:
            state = {**state, "client": torch.tensor(ids[row])}
        kept = int(state["client"]) if "client" in state else None
        client = kept if kept in ids else ids[row]
    return rows[ids.index(client)].repeat(len(view.own), 1), state


def _learned(rows: Float[Tensor, "h d"], view: AdversaryView, warmup: int) -> State:
    """The state after this round: rounds t, mean μ, direction z; `client` stays as it is."""
    if view.state:
        t = int(view.state["rounds"])
        mean, direction = view.state["mean"].to(rows), view.state["direction"].to(rows)
    else:
        t, mean = 0, torch.zeros_like(rows[0])
        start = torch.randn(rows.shape[1], generator=view.generator, dtype=rows.dtype)
        direction = _unit(start.to(rows))
    if t >= warmup:
        return view.state
    mean = (t * mean + rows.mean(dim=0)) / (t + 1)
    deviations = rows - mean
    pushed = (_scaled(deviations) @ direction) @ _scaled(deviations)
    if pushed.any():  # else the rows are all the mean: nothing to learn
        direction = _unit(t * direction + _unit(pushed))
    return {"rounds": torch.tensor(t + 1), "mean": mean, "direction": direction}


def _scaled(values: Tensor) -> Tensor:
    """The values over the largest of them, so that no square overflows or vanishes."""
    largest = values.abs().max()
    return values / torch.where(largest > 0, largest, 1)


def _unit(vector: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    vector = _scaled(vector)
    length: Tensor = torch.linalg.vector_norm(vector)
    return vector / length
