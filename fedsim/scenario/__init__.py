"""A scenario: one YAML file, checked when it is loaded, every error at its line."""

from fedsim.scenario.documents import Document, document, question_of
from fedsim.scenario.editor import json_schema
from fedsim.scenario.loading import Cell, load, sweep_hash
from fedsim.scenario.schema import Scenario

__all__ = [
    "Cell",
    "Document",
    "Scenario",
    "document",
    "json_schema",
    "load",
    "question_of",
    "sweep_hash",
]
