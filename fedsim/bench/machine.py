"""On what was measured: the facts without which a figure says nothing."""

import os
from typing import TypedDict

import torch

from fedsim.results.environment import cpu_model
from fedsim.spawning import num_cores


class Machine(TypedDict):
    """`cores` are those that this process may use, `load` how many processes wanted one before."""

    cpu: str | None
    cores: int
    threads: int
    torch: str
    device: str
    load: float | None


def machine(device: str = "cpu") -> Machine:
    """This machine, with PyTorch's threads as they are now."""
    named = torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_model()
    return Machine(
        cpu=named,
        cores=num_cores(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        device=device,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def told(facts: Machine) -> str:
    """The facts in a line, for a title."""
    load = "" if facts["load"] is None else f", load {facts['load']:.1f}"
    return (
        f"{facts['cpu'] or facts['device']}, {facts['cores']} cores, torch {facts['torch']} "
        f"on {facts['device']}{load}"
    )
