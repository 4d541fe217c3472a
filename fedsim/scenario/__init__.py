"""A scenario: one YAML file, checked when it is loaded, every error at its line."""

from fedsim.scenario.documents import Document, document
from fedsim.scenario.loading import Cell, load
from fedsim.scenario.schema import Scenario
from fedsim.scenario.yaml12 import dump

__all__ = ["Cell", "Document", "Scenario", "document", "dump", "load"]
