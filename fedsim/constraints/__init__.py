"""How a malicious client's training is held back, so that its update looks harmless."""

from fedsim.registry import Registry

constraints = Registry("constraints")
names, build = constraints.names, constraints.build
