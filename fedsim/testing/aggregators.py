"""The laws of aggregation rules."""

import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fedsim.aggregators import Rule, aggregators, lift
from fedsim.errors import PreconditionError
from fedsim.library import Named, choose
from fedsim.results.checkpoint import pack
from fedsim.testing.laws import BrokenError, Violation, alike, copied, same, same_bits, violations
from fedsim.types import Aggregate, Layers, ServerView

SIZES = (1, 2, 3, 5, 12)
"""Numbers of rows that are tried; of those that a rule takes, all laws must hold at the largest."""

MORE = (24, 40)
"""Tried in turn where a rule takes none of SIZES: one that is to bear many malicious clients."""

NUM_COORDINATES = 30

NUM_ROOT = 2_000
"""Root images: so many that no two rows cost the same number of errors."""

BIG = (40, 20_000)
PATIENCE = 10.0
"""CPU seconds that a rule may take for one stack of BIG: a round of a small model."""


def check_aggregator(rule: Named, **parameters: Any) -> list[Violation]:
    """The laws of aggregation that `rule` breaks; an empty list is good.

    shapes: (d,) and, if any, non-negative weights (n,), in the dtype of the updates. finite: of
    finite rows, however large. in_place: what is given is not written into. determinism: the same
    rows, state and generator give the same bits. permutation: the order of the clients changes
    nothing. precondition: too few rows are a PreconditionError (see `fedsim.preconditions`).
    memory: the state is new, and can be stored. cost: a round of a small model takes seconds.

    Args:
        rule: a name, `{name: …, parameters}`, a function, or "file.py:function".

    Raises: ValueError if there is no such rule, or it does not take the parameters.

    >>> check_aggregator("median")
    []
    """
    call = lift(choose(aggregators, rule, parameters))
    taken, broken = _sizes(call)
    if broken or not taken:
        return [broken or Violation("precondition", f"takes none of {SIZES + MORE} rows")]
    n = taken[-1]
    laws = {
        "shapes": _shapes,
        "finite": _finite,
        "in_place": _in_place,
        "determinism": _determinism,
        "permutation": _permutation,
        "memory": _memory,
        "cost": _cost,
    }
    return violations({law: partial(check, call, n) for law, check in laws.items()})


def is_random(rule: Named, **parameters: Any) -> bool:
    """Whether the outcome of `rule` depends on its generator."""
    call = lift(choose(aggregators, rule, parameters))
    taken, _ = _sizes(call)
    if not taken:
        return False
    rows = make_rows(taken[-1])
    one, other = (call(rows.clone(), make_view(rows, seed=seed)).update for seed in (1, 2))
    return not torch.equal(one, other)


def _sizes(call: Rule) -> tuple[list[int], Violation | None]:
    """The numbers of rows that the rule takes, and what it breaks where it takes them wrongly."""
    taken: list[int] = []
    for n in SIZES + MORE:
        if taken and n in MORE:
            break
        rows = make_rows(n)
        try:
            finite = call(rows, make_view(rows)).update.isfinite().all()
        except PreconditionError:
            continue
        except Exception as error:
            text = f"raises {type(error).__name__} for {n} rows: {error}"
            return taken, Violation("precondition", text)
        if not finite:
            return taken, Violation("precondition", f"makes no finite update of {n} rows")
        taken.append(n)
    return taken, None


def _shapes(call: Rule, n: int) -> None:
    for dtype in (torch.float32, torch.float64):
        rows = make_rows(n).to(dtype)
        outcome = call(rows, make_view(rows))
        _check_vector("the update", outcome.update, rows[0])
        if outcome.weights is not None:
            _check_vector("weights", outcome.weights, rows[:, 0])
            if not (outcome.weights >= 0).all():
                raise BrokenError(f"gives a weight of {float(outcome.weights.min()):g}")


def _check_vector(what: str, vector: Any, like: Tensor) -> None:
    if not isinstance(vector, Tensor) or vector.shape != like.shape:
        got = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
        raise BrokenError(f"{what} must be of shape {tuple(like.shape)}; got {got}")
    if vector.dtype != like.dtype:
        raise BrokenError(f"{what} must be of {like.dtype} as the updates; got {vector.dtype}")


def _finite(call: Rule, n: int) -> None:
    rows = make_rows(n)
    outlier = rows.clone()
    outlier[0] = 1e9
    stacks = {
        "zero rows": torch.zeros_like(rows),
        "equal rows": rows[:1].expand_as(rows).clone(),
        "rows of 1e-30": rows * 1e-30,
        "rows of 1e18": rows * 1e18,
        "one row at 1e9": outlier,
    }
    for what, stack in stacks.items():
        outcome = call(stack, make_view(stack))
        if not outcome.update.isfinite().all():
            raise BrokenError(f"{what} make an update that is not finite")
        if outcome.weights is not None and not outcome.weights.isfinite().all():
            raise BrokenError(f"{what} make weights that are not finite")


def _in_place(call: Rule, n: int) -> None:
    rows = make_rows(n)
    view = make_view(rows)
    before = [rows.clone(), view.params.clone(), view.num_examples.clone()]
    call(rows, view)
    same(before, [rows, view.params, view.num_examples])


def _determinism(call: Rule, n: int) -> None:
    rows = make_rows(n)
    same_bits(lambda: call(rows.clone(), make_view(rows)).update)


def _permutation(call: Rule, n: int) -> None:
    for seed in range(3):
        rows = make_rows(n, seed)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 1)).tolist()
        state = dict(_moved_along(call, rows, order, {}).state)
        if state:
            _moved_along(call, rows, order, state)


def _moved_along(call: Rule, rows: Tensor, order: list[int], state: dict[str, Any]) -> Aggregate:
    """The outcome of the rows as they stand; what they give in `order` must be the same."""
    round_ = 2 if state else 1
    given = [{key: copied(value) for key, value in state.items()} for _ in range(2)]
    plain = call(rows, make_view(rows, round_=round_, state=given[0]))
    moved = call(rows[order], make_view(rows[order], order, round_=round_, state=given[1]))
    if not alike(plain.update, moved.update):
        raise BrokenError("the update depends on the order of the clients")
    if plain.weights is None or moved.weights is None:
        return plain
    if not alike(plain.weights[order], moved.weights):
        raise BrokenError("weights do not move along with the clients")
    return plain


def _memory(call: Rule, n: int) -> None:
    state: dict[str, Any] = {}
    for round_ in (1, 2, 3):
        rows = make_rows(n, round_)
        held = {key: copied(value) for key, value in state.items()}
        outcome = call(rows, make_view(rows, round_=round_, state=state))
        same(list(held.values()), list(state.values()))
        pack({"rule": outcome.state})  # refuses what cannot be stored
        state = dict(outcome.state)


def _cost(call: Rule, n: int) -> None:
    rows = torch.randn(*BIG, generator=torch.Generator().manual_seed(2))
    started = time.process_time()
    call(rows, make_view(rows))
    seconds = time.process_time() - started
    if seconds > PATIENCE:
        raise BrokenError(f"takes {seconds:.0f} CPU s for {BIG[0]} × {BIG[1]:,} updates")


def make_rows(n: int, seed: int = 0) -> Tensor:
    """Rows about a common direction, no two alike."""
    draws = torch.Generator().manual_seed(seed)
    return 0.5 + torch.randn(n, NUM_COORDINATES, generator=draws)


def make_view(
    rows: Tensor,
    ids: list[int] | None = None,
    *,
    round_: int = 1,
    state: dict[str, Any] | None = None,
    seed: int = 3,
) -> ServerView:
    """All that a rule may ask for, of a linear model of two classes; client k has k + 1 images."""
    n, d = rows.shape
    draws = torch.Generator().manual_seed(5)
    ids = list(range(n)) if ids is None else ids
    images = torch.randn(NUM_ROOT, 1, 1, d, generator=draws).to(rows.dtype)
    return ServerView(
        client_ids=tuple(ids),
        num_examples=torch.tensor(ids) + 1,
        params=torch.randn(d, generator=draws).to(rows),
        round=round_,
        num_rounds=10,
        previous_params=torch.randn(d, generator=draws).to(rows),
        layers=Layers(
            {
                "first.weight": slice(0, d - 4),
                "last.weight": slice(d - 4, d - 2),
                "last.bias": slice(d - 2, d),
            }
        ),
        state={} if state is None else state,
        generator=torch.Generator().manual_seed(seed),
        root_update=torch.randn(d, generator=draws).to(rows),
        root=(images, torch.arange(NUM_ROOT) % 2),
        predict=_predict,
        image_shape=(1, 1, d),
    )


def _predict(params: Tensor, images: Tensor) -> Tensor:
    score = images.flatten(1).to(params) @ params
    return torch.stack([score, -score], dim=1)
