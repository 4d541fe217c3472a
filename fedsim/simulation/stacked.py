"""One network with the parameters of many clients at once, and whether that is the same."""

import logging
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fedsim.seeding import generator, seeded
from fedsim.simulation.unfolded import UnfoldedConvolutions
from fedsim.tensors import flatten_buffers, flatten_params, named_params

log = logging.getLogger("fedsim")

UNFOLDED = frozenset({"cuda"})
"""Devices on which convolutions are unfolded into batched matrix products. On the CPU grouped
convolutions measured 1.5 times (LeNet-5) to 9 times (ResNet-18) faster. On CUDA neither has been
measured: training convolutions of many small groups is reported to be slow there (pytorch#70954),
batched products are not. An empty set takes grouped convolutions everywhere."""


def stacked_logits(
    model: nn.Module, rows: Float[Tensor, "m d"], images: Float[Tensor, "m b c h w"]
) -> Float[Tensor, "m b k"]:
    """The logits of each client's images under its own row of parameters.

    Raises: RuntimeError for networks that torch cannot stack, as those that draw at random.
    """

    def logits(params: Tensor, images: Tensor) -> Tensor:
        out: Tensor = functional_call(model, named_params(model, params), (images,))
        return out

    unfolded = rows.device.type in UNFOLDED
    with warnings.catch_warnings(), UnfoldedConvolutions() if unfolded else nullcontext():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        stacked: Tensor = vmap(logits)(rows, images)
    return stacked


class Survey(NamedTuple):
    """What is to be known of a network before many clients train it at once.

    `apart` says why they cannot, or is None; `bytes_per_image` is what a step keeps for the
    gradient of one image.
    """

    apart: str | None
    bytes_per_image: int


_surveys: WeakKeyDictionary[nn.Module, Survey] = WeakKeyDictionary()


def survey(model: nn.Module, shape: Sequence[int]) -> Survey:
    """The survey of `model` for images of `shape` (c, h, w), made once for each model.

    It leaves other buffers in a model that changes them.
    """
    if model not in _surveys:
        apart = why_apart(model, shape)
        if apart is not None:
            log.warning("clients are trained one after the other: the network %s", apart)
        _surveys[model] = Survey(apart, 0 if apart else _bytes_per_image(model, shape))
    return _surveys[model]


def why_apart(model: nn.Module, shape: Sequence[int]) -> str | None:
    """Why `model` cannot be trained for many clients at once, or None if it can.

    All that is trained must lie in the stacked parameters, and an image's loss must depend on
    nothing but them and the image: batches are padded. Tried out on a few images of noise.
    """
    model.train()
    parameters = list(model.parameters())
    if not all(parameter.requires_grad for parameter in parameters):
        return "has parameters that are not trained"
    images, before = _noise(model, shape, 3), flatten_buffers(model)
    with seeded(0, "survey"):
        first, again, other = (model(images[rows]) for rows in ([0, 1], [0, 1], [0, 2]))
        grads = torch.autograd.grad(first.square().sum(), parameters, allow_unused=True)
        if any(grad is None for grad in grads):
            return "has parameters without a part in its logits"
        if not torch.equal(before, flatten_buffers(model)):
            return "changes its buffers in training (as batch normalisation does)"
        if not _close(first, again):
            return "draws at random in training (as dropout does)"
        if not _close(first[0], other[0]):
            return "mixes the images of a batch"
        try:
            _gradient_of_two(model, images[:2])
        except RuntimeError as error:
            return f"cannot be stacked ({str(error).splitlines()[0]})"
    return None


def _gradient_of_two(model: nn.Module, images: Tensor) -> None:
    rows = flatten_params(model).expand(2, -1).clone().requires_grad_()
    logits = stacked_logits(model, rows, torch.stack([images, images]))
    torch.autograd.grad(logits.square().sum(), rows)


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def _noise(model: nn.Module, shape: Sequence[int], count: int) -> Tensor:
    like = next(model.parameters())
    return torch.rand(count, *shape, generator=generator(0, "survey", count)).to(like)


def _bytes_per_image(model: nn.Module, shape: Sequence[int]) -> int:
    """By how much what is kept for the gradient grows with every image."""
    few, many = (_bytes_kept(model, _noise(model, shape, count)) for count in (2, 6))
    return max(1, (many - few) // 4)


def _bytes_kept(model: nn.Module, images: Tensor) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    rows = flatten_params(model)[None].requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = stacked_logits(model, rows, images[None])
    return sum(kept.values()) + logits.nbytes
