"""Networks: (shape (c, h, w), num_classes) → nn.Module that returns logits (b, k)."""

from fedsim.registry import Registry

models = Registry("models")
names, build = models.names, models.build
