"""What papers report of their own rules, to stand beside what is measured here."""

from collections.abc import Mapping, Sequence

REPORTED: Mapping[str, Sequence[Mapping[str, str]]] = {}
"""Name of a rule → `{text, source}`: the number with its setting, and the paper."""
