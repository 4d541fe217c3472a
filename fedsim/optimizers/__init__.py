"""How the server steps along the aggregate: (update (d,), state) → (step (d,), state)."""

from fedsim.registry import Registry

optimizers = Registry("optimizers")
names, build = optimizers.names, optimizers.build
