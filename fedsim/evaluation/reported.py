"""What papers report of their own rules, to stand beside what is measured here."""

from collections.abc import Mapping, Sequence

REPORTED: Mapping[str, Sequence[Mapping[str, str]]] = {
    "auror": (
        {
            "text": "3 points of accuracy lost with 30 % of the users flipping labels "
            "(MNIST and GTSRB)",
            "source": "Shen et al., ACSAC 2016, abstract",
        },
    ),
}
"""Name of a rule → `{text, source}`: the number with its setting, and where it stands.

Only numbers that were checked in the paper are here; the papers' settings are not the suites'.
"""
