"""How far from the mean a row may go and still pass for one of the rows it hides among."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.tensors import columns
from fedsim.types import AdversaryView

Direction = Literal["unit", "std", "sign"]
Reach = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def known_rows(view: AdversaryView) -> Float[Tensor, "k d"]:
    """The benign rows if the adversary knows any, else its own."""
    return view.own if view.benign is None or not len(view.benign) else view.benign


def deviations(values: Float[Tensor, "k c"]) -> Float[Tensor, " c"]:
    """The population standard deviation of each column; no square overflows or vanishes."""
    away = values - values.mean(dim=0)
    largest = away.abs().amax(dim=0)
    scale = torch.where(largest > 0, largest, 1)
    return scale * (away / scale).square().mean(dim=0).sqrt()


def furthest_row(
    rows: Float[Tensor, "k d"],
    direction: Direction,
    reach: Reach,
    measure: Callable[[Tensor], Tensor],
) -> Float[Tensor, " d"]:
    """The row furthest from the mean along `direction` that is within the bound, rounding included.

    Row x is within it if measure_j ‖x − x_j‖² ≤ max_i measure_j ‖x_i − x_j‖². `reach` gives the
    distance that makes these equal, and the i of the maximum, from the products ⟨e_i, e_j⟩ and
    ⟨e_i, u⟩ of e_i = x_i − mean and the unit vector u of the direction.
    """
    origin = rows[0].double()  # what rows have in common would cost digits
    mean, heading, scale = _ray(rows, origin, direction)
    if not heading.any():
        return (origin + mean).to(rows)
    products, along = _products(rows, origin + mean, heading, scale)
    distance, edge = reach(products, along)
    bound = measure(_squares(rows, rows[int(edge)], scale))
    step = torch.finfo(rows.dtype).eps
    while step < 1:
        row = (origin + mean + distance * scale * heading).to(rows)
        if measure(_squares(rows, row, scale)) <= bound:
            return row
        distance, step = distance * (1 - step), 2 * step
    return rows[int(products.diagonal().argmin())].clone()  # a row itself is always within


def _ray(
    rows: Float[Tensor, "k d"], origin: Float[Tensor, " d"], direction: Direction
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], Float[Tensor, ""]]:
    """Mean less the origin, unit vector (or 0) of the direction, largest deviation."""
    mean, spread = torch.empty_like(origin), torch.empty_like(origin)
    scale = origin.new_zeros(())
    for part in columns(rows):
        values = rows[:, part].double() - origin[part]
        mean[part] = values.mean(dim=0)
        spread[part] = deviations(values)
        scale = torch.maximum(scale, (values - mean[part]).abs().max())
    heading = -spread if direction == "std" else -(origin + mean)
    if direction == "sign":
        heading = heading.sign()
    largest = heading.abs().max()
    if scale == 0 or largest == 0:
        return mean, torch.zeros_like(heading), scale
    heading = heading / largest
    return mean, heading / heading.norm(), scale


def _products(
    rows: Float[Tensor, "k d"],
    mean: Float[Tensor, " d"],
    heading: Float[Tensor, " d"],
    scale: Float[Tensor, ""],
) -> tuple[Float[Tensor, "k k"], Float[Tensor, " k"]]:
    """⟨e_i, e_j⟩ / scale² and ⟨e_i, u⟩ / scale."""
    products = mean.new_zeros(len(rows), len(rows))
    along = mean.new_zeros(len(rows))
    for part in columns(rows):
        deviations = (rows[:, part].double() - mean[part]) / scale
        products += deviations @ deviations.T
        along += deviations @ heading[part]
    return products, along


def _squares(
    rows: Float[Tensor, "k d"], row: Float[Tensor, " d"], scale: Float[Tensor, ""]
) -> Float[Tensor, " k"]:
    """(‖row − x_i‖ / scale)², from differences."""
    squares = scale.new_zeros(len(rows))
    for part in columns(rows):
        squares += ((rows[:, part].double() - row[part].double()) / scale).square().sum(dim=1)
    return squares
