"""The only importer of Flower and Ray: the apps, the Strategy, the Grid and what runs behind it."""

from fedsim.flower.engine import RunnerOf, run_rounds

__all__ = ["RunnerOf", "run_rounds"]
