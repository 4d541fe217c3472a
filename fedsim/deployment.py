r"""A scenario under Flower's own deployment: a ServerApp and SuperNodes that talk over a network.

The same rounds, attacks, rules and scores as `fedsim run`, and the same numbers; the clients are
trained where their SuperNode runs. It is for showing that, with a few nodes: each client takes
seconds, as Flower starts a process for it. Every machine needs fedsim and the data (`FEDSIM_DATA`).

An app is a folder with this `pyproject.toml`:

    [project]
    name = "lab"
    version = "1.0.0"
    description = "A scenario of fedsim"
    [tool.flwr.app]
    publisher = "lab"
    [tool.flwr.app.components]
    serverapp = "fedsim.deployment:server_app"
    clientapp = "fedsim.deployment:client_app"
    [tool.flwr.app.config]
    scenario = ""
    output = "runs"

Two nodes on one machine; node K of N stands for the clients K, K + N, K + 2N, …

    export FLWR_HOME=$PWD/.flwr FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
    mkdir -p .flwr
    flower-superlink --insecure --port 8000 --disable-runtime-dependency-installation &
    flower-supernode --insecure --superlink 127.0.0.1:8000 --port 9094 \
        --node-config 'partition-id=0 num-partitions=2' &
    flower-supernode --insecure --superlink 127.0.0.1:8000 --port 9095 \
        --node-config 'partition-id=1 num-partitions=2' &
    printf '[superlink.lab]\naddress = "127.0.0.1:8000"\ninsecure = true\n' > .flwr/config.toml
    flwr run ./app lab --stream \
        --run-config 'scenario="/path/of/scenario.yaml" output="/path/of/runs"'

The run folder is written where the SuperLink runs, from where relative paths count. An unfinished
one is gone on with. `flwr run` exits with 0 even if the run has failed: look at the run folder.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsim.cli.progress import ConsoleProgress, LogLines
from fedsim.datasets import default_source
from fedsim.errors import InputError
from fedsim.execution import Settings, play
from fedsim.flower import RunnerOf
from fedsim.flower.deployment import client_app, make_server_app
from fedsim.reporting import report
from fedsim.scenario import load, question_of

__all__ = ["client_app", "server_app"]


def _play(config: Mapping[str, Any], runner_of: RunnerOf) -> None:
    """Play the scenario of the run config on the clients that `runner_of` reaches."""
    source, output = Path(str(config["scenario"])), Path(str(config["output"]))
    cells = load(source)
    if len(cells) > 1:
        raise InputError(f"{source}: has a matrix of {len(cells)} cells; a deployment plays one.")
    log, progress = logging.getLogger("fedsim"), ConsoleProgress(verbose=True)
    log.addHandler(LogLines(progress, debug=False))
    settings = Settings(output, default_source(), resume=True, runner_of=runner_of)
    run = play(cells[0], settings, progress)
    report(run, run.path / "report.html", question_of(source))
    progress.message(str(run.path))


server_app = make_server_app(_play)
