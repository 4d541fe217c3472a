"""What is stamped on pixels: images (b, c, h, w) in [0, 1] → images of the same shape."""

from collections.abc import Callable

from torch import Tensor

from fedsim.registry import Registry

Trigger = Callable[[Tensor], Tensor]

triggers = Registry("triggers")
names, build = triggers.names, triggers.build
