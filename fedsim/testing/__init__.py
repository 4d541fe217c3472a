"""The laws that rules, attacks and triggers keep, checked for anybody's: no test library needed."""

from fedsim.testing.aggregators import check_aggregator, is_random
from fedsim.testing.attacks import check_attack
from fedsim.testing.laws import Violation
from fedsim.testing.triggers import check_trigger

__all__ = ["Violation", "check_aggregator", "check_attack", "check_trigger", "is_random"]
