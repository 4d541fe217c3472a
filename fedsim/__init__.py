"""fedsim: how much does this attack hurt a federation defended by this rule, and at what cost?"""

import importlib
import logging
import os
from typing import Any

__version__ = "0.1.0"

logging.getLogger("fedsim").addHandler(logging.NullHandler())

# Flower and Ray report usage by default and read these when imported. Nobody asked for that here.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns about it

_HOMES = {
    **dict.fromkeys(("run", "sweep", "load"), "fedsim.api"),
    "evaluate": "fedsim.judging",
    **dict.fromkeys(
        ("aggregate", "preaggregate", "craft", "stamp", "poison", "partition"), "fedsim.library"
    ),
}
_KINDS = (
    "aggregators",
    "preaggregators",
    "postaggregators",
    "optimizers",
    "attacks",
    "constraints",
    "poisons",
    "triggers",
    "datasets",
    "partitions",
    "models",
    "metrics",
    "inspections",
    "repairs",
    "filters",
    "monitors",
)
__all__ = ["__version__", *_HOMES, *_KINDS]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `fedsim --help` does not wait for torch."""
    if name in _KINDS:
        return importlib.import_module(f"fedsim.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fedsim' has no attribute '{name}'")
