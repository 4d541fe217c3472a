"""What a function of each kind is called with, for those who write one and for errors."""

import inspect
from collections.abc import Callable
from typing import Any

SIGNATURES = {
    "aggregators": "(updates) → (d,) or (n,), or (updates, view) → Aggregate",
    "preaggregators": "(updates) → (n, d), or (updates, view) → (n, d)",
    "postaggregators": "(update, view) → (d,)",
    "optimizers": "(update, state) → (step, state)",
    "attacks": "(view) → (m, d), or → ((m, d), state)",
    "constraints": "(update, step, is_last) → (d,), or (gradient, view) → (d,)",
    "poisons": "(images, labels, view) → (images, labels)",
    "triggers": "(images) → images, or (images, pattern=None) → images if learned",
    "datasets": "(source) → Dataset",
    "partitions": "(labels, num_clients, generator) → list of index tensors",
    "models": "(shape, num_classes) → nn.Module",
    "metrics": "(logits, labels) → number",
    "inspections": "(suspect) → Verdict",
    "repairs": "(suspect) → nn.Module",
    "filters": "(suspect) → (images → Filtered)",
    "monitors": "(watch) → (alarm or None, state)",
}
"""Positional arguments and answer; keyword-only arguments are the parameters."""

_COUNTS = {
    "aggregators": (1, 2),
    "preaggregators": (1, 2),
    "attacks": (1,),
    "triggers": (1, 2),
    "datasets": (1,),
    "constraints": (2, 3),
    "poisons": (3,),
    "partitions": (3,),
    **dict.fromkeys(("inspections", "repairs", "filters", "monitors"), (1,)),
}


def check_signature(kind: str, name: str, function: Callable[..., Any]) -> None:
    """ValueError if `function` does not take the positional arguments of its kind."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ValueError(f"{name}: must be a plain function, neither async nor a generator")
    parameters = inspect.signature(function).parameters.values()
    taken = [p.name for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    needed = _COUNTS.get(kind, (2,))
    if len(taken) not in needed:
        got = f"({', '.join(taken)})"
        raise ValueError(
            f"{name}: must be a function {SIGNATURES[kind]}, its parameters after a *; got {got}"
        )
