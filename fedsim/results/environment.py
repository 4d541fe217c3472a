"""With which versions, on which machine and device, and from which data a run was made."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedsim import __version__

_PACKAGES = ("torch", "torchvision", "flwr", "ray", "numpy", "scipy", "scikit-learn")

_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
)
"""What can make libraries compute in another order, if set."""

_ENGINE = ("trainer", "workers", "deterministic")


def environment(
    device: str,
    engine: Mapping[str, Any],
    data: Mapping[str, str],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """What the numbers of a run depend on beside its scenario; absent packages are None.

    `engine` is that section of the scenario; `data` and `files` are SHA-256 of the splits and of
    the user's own files.
    """
    import torch

    return {
        "fedsim": __version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "torch_build": torch_build(torch.__config__.show()),
        "numpy_blas": _numpy_blas(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "byte_order": sys.byteorder,
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": device,
        "device_name": _device_name(device),
        **_cuda(device),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "engine": engine["name"],
        "threads": engine["server_threads"],
        **{key: engine[key] for key in _ENGINE},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "data": dict(data),
        "files": dict(files),
    }


def torch_build(text: str) -> str:
    r"""What PyTorch says of its libraries (`torch.__config__.show()`), without the flags.

    >>> torch_build("PyTorch built with:\n  - GCC 13.3\n  - Build settings: BLAS_INFO=mkl, X=1\n")
    'GCC 13.3; BLAS_INFO=mkl'
    """
    lines = [line.strip(" -") for line in text.splitlines()[1:]]
    told = [line for line in lines if not line.startswith(("Build settings", "NVCC", "CPU cap"))]
    return "; ".join([*filter(None, told), *re.findall(r"\b(?:BLAS|LAPACK)_INFO=\w+", text)])


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


def _numpy_blas() -> str | None:
    """The library that NumPy multiplies matrices with."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(blas[key]) for key in ("name", "version") if key in blas) or None


def _device_name(device: str) -> str | None:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_model()


def _cuda(device: str) -> dict[str, Any]:
    import torch

    if not device.startswith("cuda"):
        return {"cuda": None, "cudnn": None}
    return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
