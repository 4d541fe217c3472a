"""`python -m tests.execution.die_at MOMENT COUNT ARGUMENTS...`: fedsim, killed at a chosen moment.

The process kills itself when it comes to the MOMENT for the COUNT-th time.
"""

import os
import signal
import sys

import fedsim.reporting.page as page
import fedsim.results.files as files
import fedsim.results.model as model
import fedsim.results.store as store
from fedsim.cli import main


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def append_half(path, data):
    with path.open("ab") as file:
        file.write(data[: len(data) // 2])


def replace_half(path, data):
    path.with_name(path.name + ".tmp").write_bytes(data[: len(data) // 2])


def nothing(*_):
    """Die before anything was done."""


# Moment: whose attribute is called, what is still done of the call, and for which file.
MOMENTS = {
    "line": (store, "_append", append_half, ""),
    "recorded": (store.RunFolder, "save_checkpoint", nothing, ""),
    "checkpoint": (store, "replace_file", replace_half, "checkpoint.pt"),
    "model": (model, "replace_file", replace_half, "model.safetensors"),
    "summary": (files, "replace_file", replace_half, "summary.json"),
    "finished": (store.RunFolder, "tidy", nothing, ""),
    "page": (page, "replace_file", replace_half, "report.html"),
}


def arm(moment, count):
    """Let the `count`-th call of the moment be the last."""
    owner, name, half, file = MOMENTS[moment]
    whole, calls = getattr(owner, name), []

    def call(first, *rest, **options):
        calls.extend([1] if getattr(first, "name", "").endswith(file) else [])
        if len(calls) == count:
            half(first, *rest)
            die()
        return whole(first, *rest, **options)

    setattr(owner, name, call)


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    main(sys.argv[3:])
