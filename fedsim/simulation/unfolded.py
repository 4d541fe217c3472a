"""Convolutions as matrix products of unfolded images, which batch over clients."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


class UnfoldedConvolutions(TorchFunctionMode):
    """Inside the block every plain two-dimensional convolution is computed by `unfolded_conv2d`.

    Those in groups, of a single image or with padding by name are left to torch.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The result of `func`, a function of torch that is called inside the block."""
        if func is functional.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def unfolded_conv2d(
    images: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "o c p q"],
    bias: Float[Tensor, " o"] | None = None,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> Float[Tensor, "b o y x"]:
    """The convolution as one product: all windows (b·y·x, c·p·q) times the weights (c·p·q, o).

    The windows take p·q times the memory of the images.
    """
    (p, q), windows = weight.shape[2:], images
    for dim, size in ((2, p), (3, q)):
        reach = dilation[dim - 2] * (size - 1) + 1
        windows = windows.unfold(dim, reach, stride[dim - 2])
    windows = windows[..., :: dilation[0], :: dilation[1]].permute(0, 2, 3, 1, 4, 5)
    b, y, x = windows.shape[:3]
    maps = windows.reshape(b * y * x, -1) @ weight.flatten(1).T
    if bias is not None:
        maps = maps + bias
    return maps.view(b, y, x, -1).permute(0, 3, 1, 2)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    if groups != 1 or isinstance(padding, str) or input.dim() != 4:
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    high, wide = _pair(padding)
    padded = functional.pad(input, (wide, wide, high, high)) if high or wide else input
    return unfolded_conv2d(padded, weight, bias, _pair(stride), _pair(dilation))


def _pair(value: int | Sequence[int]) -> Pair:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second
