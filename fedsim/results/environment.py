"""With which versions, on which machine and device, and from which data a run was made."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedsim import __version__

_PACKAGES = ("torch", "torchvision", "flwr", "ray", "numpy")


def environment(
    device: str, threads: int, data_hashes: Mapping[str, str], engine: str = "inprocess"
) -> dict[str, Any]:
    """What the numbers of a run depend on beside its scenario; absent packages are None."""
    import torch

    return {
        "fedsim": __version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "byte_order": sys.byteorder,
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "engine": engine,
        "device": device,
        "device_name": _device_name(device),
        "threads": threads,
        "data": dict(data_hashes),
    }


def cpu_model(listing: Path = Path("/proc/cpuinfo")) -> str | None:
    """The processor's model name, or None where the system does not tell."""
    try:
        lines = listing.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: str) -> str | None:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_model()
