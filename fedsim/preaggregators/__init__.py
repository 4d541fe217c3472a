"""What the server does to the rows before its rule sees them: (n, d) → (n, d)."""

from fedsim.registry import Registry

preaggregators = Registry("preaggregators")
names, build = preaggregators.names, preaggregators.build
