"""Settings of the whole test run: shapes are checked, hypothesis repeats, threads are few."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

KINDS = (
    "aggregators",
    "preaggregators",
    "postaggregators",
    "optimizers",
    "attacks",
    "constraints",
    "poisons",
    "triggers",
    "partitions",
    "metrics",
    "inspections",
    "repairs",
    "filters",
    "monitors",
)
install_import_hook([f"fedsim.{kind}" for kind in KINDS], "beartype.beartype")

settings.register_profile(
    "tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_plugin_stays() -> Iterator[None]:
    """What a test registers is gone when the next begins, which may be any other."""
    from fedsim.registry import REGISTRIES

    held = {kind: set(registry._plugins) for kind, registry in REGISTRIES.items()}
    yield
    for kind, registry in REGISTRIES.items():
        for name, plugin in list(registry._plugins.items()):
            ours = plugin.function.__module__.startswith("fedsim.")
            if not ours and name not in held.get(kind, ()):
                del registry._plugins[name]


@pytest.fixture
def mnist_root() -> Path:
    """The folder of the real MNIST, where `FEDSIM_DATA` names one."""
    root = Path(os.environ.get("FEDSIM_DATA", ""))
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip("FEDSIM_DATA names no folder with MNIST/raw")
    return root
