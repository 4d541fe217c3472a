"""A finished model made harmless: (suspect) → nn.Module, the suspect's own model left alone."""

from fedsim.registry import Registry

repairs = Registry("repairs")
names, build = repairs.names, repairs.build
