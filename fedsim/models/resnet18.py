"""ResNet-18 for small images, with group normalisation."""

from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from fedsim.models import models

Norm = Literal["group", "batch"]


@models.register
def resnet18(
    shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: Norm = "group",
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64,
) -> nn.Module:
    """A 3 × 3 stem of `width` maps, four stages of two residual blocks, then the logits.

    A block returns relu(x + f(x)); stages two to four double the maps and halve the sides.
    `width: 32` is the narrow variant of Xie et al. (DBA), ICLR 2020.

    Paper: He et al., CVPR 2016, arXiv:1512.03385.
    Differs: no 7 × 7 stem and no first pooling, as is usual for images of 32 × 32; two groups of
        group normalisation (Wu and He, ECCV 2018, arXiv:1803.08494) for batch normalisation, whose
        running statistics suit neither uneven clients nor vectorised training. `norm: batch`
        brings it back.
    Raises: ValueError for images below 8 × 8, whose sides the stages halve to nothing.

    >>> sum(p.numel() for p in resnet18((3, 32, 32), 10).parameters())
    11173962
    """
    c, h, w = shape
    if c < 1 or min(h, w) < 8:
        raise ValueError(f"resnet18 needs at least 1 channel and 8 × 8 pixels; got {c} × {h} × {w}")
    return nn.Sequential(
        OrderedDict(
            conv=_conv(c, width, 3),
            norm=_norm(norm, width),
            relu=nn.ReLU(),
            stage1=_stage(width, width, 1, norm),
            stage2=_stage(width, 2 * width, 2, norm),
            stage3=_stage(2 * width, 4 * width, 2, norm),
            stage4=_stage(4 * width, 8 * width, 2, norm),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(8 * width, num_classes),
        )
    )


class Block(nn.Module):
    """relu(shortcut(x) + f(x)), f two normalised 3 × 3 convolutions."""

    def __init__(self, maps: int, new_maps: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(maps, new_maps, 3, stride)
        self.norm1 = _norm(norm, new_maps)
        self.conv2 = _conv(new_maps, new_maps, 3)
        self.norm2 = _norm(norm, new_maps)
        self.shortcut = _shortcut(maps, new_maps, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """The maps after this block."""
        residual = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        maps: Tensor = self.shortcut(x) + residual
        return maps.relu()


def _stage(maps: int, new_maps: int, stride: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(Block(maps, new_maps, stride, norm), Block(new_maps, new_maps, 1, norm))


def _shortcut(maps: int, new_maps: int, stride: int, norm: Norm) -> nn.Module:
    if maps == new_maps:
        return nn.Identity()
    conv = _conv(maps, new_maps, 1, stride)
    return nn.Sequential(OrderedDict(conv=conv, norm=_norm(norm, new_maps)))


def _conv(maps: int, new_maps: int, size: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(maps, new_maps, size, stride, padding=size // 2, bias=False)
    # He et al., ICCV 2015: with the initial values of torch a rate of 0.1 stalls at the start.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _norm(norm: Norm, maps: int) -> nn.Module:
    return nn.GroupNorm(2, maps) if norm == "group" else nn.BatchNorm2d(maps)
