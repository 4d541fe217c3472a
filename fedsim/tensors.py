"""Between a module's named parameters and the flat vectors that rules and attacks work on."""

import hashlib
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedsim.types import Layers


def layers_of(module: nn.Module) -> Layers:
    """Where each trainable parameter of `module` lies in the flat vector (d,)."""
    layers, start = Layers(), 0
    for name, parameter in module.named_parameters():
        layers[name] = slice(start, start + parameter.numel())
        start += parameter.numel()
    return layers


def flatten_params(module: nn.Module) -> Float[Tensor, " d"]:
    """The trainable parameters of `module`, flattened in `named_parameters()` order (a copy)."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


def flatten_buffers(module: nn.Module) -> Float[Tensor, " b"]:
    """The persistent buffers of `module` as one float32 vector, counters included (a copy)."""
    buffers = [buffer.detach().reshape(-1).float() for buffer in _buffers(module).values()]
    return torch.cat(buffers) if buffers else torch.empty(0)


def load_params(module: nn.Module, params: Float[Tensor, " d"]) -> None:
    """Copy the flat `params` (d,) into the parameters of `module`, in place."""
    with torch.no_grad():
        start = 0
        for parameter in module.parameters():
            count = parameter.numel()
            parameter.copy_(params[start : start + count].view_as(parameter))
            start += count


def load_buffers(module: nn.Module, buffers: Float[Tensor, " b"]) -> None:
    """Copy the flat `buffers` (b,) into `module` in place; integer buffers are rounded."""
    with torch.no_grad():
        start = 0
        for buffer in _buffers(module).values():
            values = buffers[start : start + buffer.numel()].view_as(buffer)
            buffer.copy_(values if buffer.is_floating_point() else values.round())
            start += buffer.numel()


def state_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the little-endian bytes of `tensors` in order (`parameters_sha256`)."""
    digest = hashlib.sha256()
    for tensor in tensors.values():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    trainable = {name for name, _ in module.named_parameters()}
    return {name: value for name, value in module.state_dict().items() if name not in trainable}
