"""A round's updates in two dimensions, so that a report can show who stood where."""

import logging
from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.scenario import Scenario
from fedsim.simulation.client import Reply
from fedsim.simulation.roles import Cohort, draw_cohort, last_attack_round
from fedsim.types import Aggregate

Point = tuple[float, float]

_CHUNK = 2**18  # values worked on at once
_NOTHING = 1e-12  # a component with less than this share of the variance is rounding error

log = logging.getLogger("fedsim")


def is_pictured(scenario: Scenario, round_: int) -> bool:
    """Whether `round_` is the last in which somebody attacks, or, if nobody does, the last."""
    if _acts(scenario, round_):
        last = last_attack_round(scenario) or round_
        return not any(_acts(scenario, later) for later in range(round_ + 1, last + 1))
    earlier = range(1, scenario.rounds)
    return round_ == scenario.rounds and not any(_acts(scenario, r) for r in earlier)


def _acts(scenario: Scenario, round_: int) -> bool:
    return bool(draw_cohort(scenario, round_).acting)


def picture(
    cohort: Cohort, valid: Sequence[Reply], outcome: Aggregate | None
) -> dict[str, Any] | None:
    """What updates.json holds of a round; None without a reply, or where there is no room.

    `explained` is the share of the rows' variance along each axis; `aggregate` (None where the rule
    gave none) and `zero` lie in the plane of the rows, of which each has its place `at`.
    """
    rows = [reply.update for reply in valid if reply.update is not None]
    if not rows:
        return None
    marks = [torch.zeros_like(rows[0])] if outcome is None else [outcome.update]
    try:
        places, others, explained = project(rows, [torch.zeros_like(rows[0]), *marks])
    except RuntimeError as error:  # a picture less is no reason to lose a run
        log.warning("round %d: no picture of the updates: %s", cohort.round, error)
        return None
    given = None if outcome is None or outcome.weights is None else outcome.weights.tolist()
    return {
        "round": cohort.round,
        "explained": explained,
        "zero": others[0],
        "aggregate": None if outcome is None else others[1],
        "clients": [
            {
                "client": reply.client,
                "malicious": reply.client in cohort.malicious,
                "acting": reply.client in cohort.acting,
                "weight": None if given is None else given[i],
                "at": places[i],
            }
            for i, reply in enumerate(valid)
        ],
    }


def project(
    rows: Sequence[Float[Tensor, " d"]], others: Sequence[Float[Tensor, " d"]]
) -> tuple[list[Point], list[Point], Point]:
    """Where `rows` and `others` lie on the first two principal axes of `rows`, and their shares.

    With X the centred rows, X Xᵀ = U diag(λ) Uᵀ: row i lies at √λ_k U_ik, an other y at
    Σ_i U_ik ⟨x_i, y − mean⟩ / √λ_k. An axis points to where its farthest row is positive; one along
    which nothing varies has all rows at 0.
    """
    gram, cross = _products(rows, others)
    values, vectors = torch.linalg.eigh(gram)
    total = float(gram.trace())
    axes, shares = [], []
    for k in (1, 2):
        value = float(values[-k]) if k <= len(rows) else 0.0
        if value <= _NOTHING * total:
            axes.append(([0.0] * len(rows), [0.0] * len(others)))
            shares.append(0.0)
            continue
        vector = vectors[:, -k]
        vector = vector * torch.sign(vector[vector.abs().argmax()])
        along = (vector * sqrt(value), cross.T @ vector / sqrt(value))
        axes.append((_rounded(along[0]), _rounded(along[1])))
        shares.append(min(1.0, value / total))
    places, marked = (list(zip(axes[0][i], axes[1][i], strict=True)) for i in (0, 1))
    return places, marked, (shares[0], shares[1])


def _products(
    rows: Sequence[Tensor], others: Sequence[Tensor]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n m"]]:
    """Inner products of the centred rows with one another and with `others`, in float64."""
    width = max(1, _CHUNK // len(rows))
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    cross = torch.zeros(len(rows), len(others), dtype=torch.float64)
    for start in range(0, len(rows[0]), width):
        block = torch.stack([row[start : start + width] for row in rows]).double()
        middle = block.mean(dim=0)
        marks = torch.stack([one[start : start + width] for one in others]).to(block) - middle
        block -= middle
        gram += (block @ block.T).cpu()
        cross += (block @ marks.T).cpu()
    return gram, cross


def _rounded(values: Tensor) -> list[float]:
    """The numbers to six digits: more would be noise in a picture."""
    return [float(f"{value:.6g}") for value in values.tolist()]
