"""Flat vectors of a module's parameters, and what rules measure on a stack of them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fedsim.types import Layers


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside the block: bits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def named_params(module: nn.Module, params: Float[Tensor, " d"]) -> dict[str, Tensor]:
    """The flat `params` as views in the shapes of the parameters of `module`, by name."""
    parts = params.split([parameter.numel() for parameter in module.parameters()])
    return {
        name: part.view_as(parameter)
        for (name, parameter), part in zip(module.named_parameters(), parts, strict=True)
    }


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


def columns(updates: Float[Tensor, "n d"]) -> Iterator[slice]:
    """The d coordinates in pieces of a few MB of all rows."""
    n, d = updates.shape
    width = max(1, _CHUNK // max(1, n))
    return (slice(start, min(start + width, d)) for start in range(0, d, width))


def per_coordinate(
    updates: Float[Tensor, "n d"], function: Callable[[Tensor], Tensor]
) -> Float[Tensor, " d"]:
    """`function` (n, c) → (c,) on all coordinates, piece by piece."""
    update = updates.new_empty(updates.shape[1])
    for part in columns(updates):
        update[part] = function(updates[:, part])
    return update


def median(values: Tensor) -> Tensor:
    """The median over the first dimension; of an even number, the midpoint of the middle two."""
    n, ordered = len(values), values.sort(dim=0).values
    return ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2


def norms(updates: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The L2 norms of the rows; no square overflows or vanishes on the way."""
    scale = _magnitudes(updates)
    squares = torch.zeros_like(scale)
    for part in columns(updates):
        squares += _scaled(updates[:, part], scale).square_().sum(dim=1, keepdim=True)
    return (squares.sqrt() * scale).flatten().to(updates)


def squared_distances(updates: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """‖u_i − u_j‖² in float64, each to some eight digits whatever the rows have in common.

    Inner products lose the digits of two rows that are close beside their distance from the origin.
    So the origin is put at a row of the bulk, and rows that are still close from there are measured
    again among themselves, from one of them. A distance whose square overflows is inf.
    """
    n = len(updates)
    distances = torch.zeros(n, n, dtype=torch.float64, device=updates.device)
    if n > 1:
        _measure(updates, torch.arange(n, device=updates.device), distances)
    return distances


def cosine_similarities(updates: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """⟨u_i, u_j⟩ / (‖u_i‖ ‖u_j‖) in float64, in [−1, 1]; 0 where a row is zero."""
    scale = _magnitudes(updates)
    gram = scale.new_zeros(len(updates), len(updates))
    for part in columns(updates):
        rows = _scaled(updates[:, part], scale)
        gram += rows @ rows.T
    lengths = torch.where(gram.diagonal() > 0, gram.diagonal(), 1).sqrt()
    return (gram / lengths / lengths[:, None]).clamp(-1, 1)


_CHUNK = 2**18  # values worked on at once
_SAMPLE = 2048  # coordinates that choose the row from which distances are measured
_CLOSE = 1e-6  # a squared distance below this share of the squared norms has lost its digits


def _measure(updates: Tensor, chosen: Tensor, distances: Tensor) -> None:
    """Fill in the squared distances between the `chosen` rows."""
    n, whole = len(chosen), len(chosen) == len(updates)
    origin = updates[chosen[_medoid(updates, chosen)]]
    gram = distances.new_zeros(n, n)
    for part in columns(updates):
        rows = updates[:, part] if whole else updates[chosen, part]
        rows = rows.to(torch.float64, copy=True).sub_(origin[part])
        gram += rows @ rows.T
    squares = gram.diagonal()
    both = squares[:, None] + squares
    found = (both - 2 * gram).fill_diagonal_(0)
    lost = found.isnan() | ((found <= _CLOSE * both) & (both > 0) & found.isfinite())
    lost.fill_diagonal_(False)
    distances[chosen[:, None], chosen] = torch.where(found.isnan(), torch.inf, found)
    while lost.any():
        one = int(lost.any(dim=1).nonzero()[0])
        group = lost[one].index_fill(0, torch.tensor(one, device=lost.device), True).nonzero()[:, 0]
        _measure(updates, chosen[group], distances)
        lost[group[:, None], group] = False


def _magnitudes(updates: Tensor) -> Float[Tensor, "n 1"]:
    """What to divide rows by so that float64 holds their squares; ones if it does anyway."""
    if updates.dtype != torch.float64 or updates.numel() == 0:
        return updates.new_ones(len(updates), 1, dtype=torch.float64)
    low, high = updates.aminmax(dim=1, keepdim=True)
    largest = torch.maximum(-low, high)
    return torch.where(largest > 0, largest, 1)


def _scaled(rows: Tensor, scale: Tensor) -> Tensor:
    """A copy in float64, divided by `scale` where that is of use."""
    return rows / scale if rows.dtype == torch.float64 else rows.double()


def _medoid(updates: Tensor, chosen: Tensor) -> int:
    """Which of the chosen rows has the least median distance to them, on a few coordinates."""
    step = max(1, updates.shape[1] // _SAMPLE)
    sample = updates[:, ::step][chosen].double()
    apart = torch.cdist(sample, sample, compute_mode="donot_use_mm_for_euclid_dist")
    return int(apart.nan_to_num(torch.inf).median(dim=1).values.argmin())


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    trainable = {name for name, _ in module.named_parameters()}
    return {name: value for name, value in module.state_dict().items() if name not in trainable}
