"""What a run leaves behind: its folder, its summary, and how both are read again."""

from fedsim.results.environment import environment
from fedsim.results.model import read_model, write_model
from fedsim.results.reading import Run, Sweep, load, write_sweep
from fedsim.results.stats import Interval, mean_interval
from fedsim.results.store import RunFolder
from fedsim.results.summary import summarize

__all__ = [
    "Interval",
    "Run",
    "RunFolder",
    "Sweep",
    "environment",
    "load",
    "mean_interval",
    "read_model",
    "summarize",
    "write_model",
    "write_sweep",
]
