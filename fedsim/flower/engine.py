"""A run from a state to the last round: one ServerApp over a Grid over the engine's runner."""

import logging
from collections.abc import Callable
from functools import partial

import torch
from flwr.app import ConfigRecord, Context, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedsim.errors import OUT_OF_RANGE, RunError
from fedsim.flower._private import RUN_ID, identify_process
from fedsim.flower.client_app import set_exactness, torch_threads
from fedsim.flower.grid import SimulationGrid
from fedsim.flower.pool import Pool
from fedsim.flower.processes import Processes
from fedsim.flower.runners import Runner, Sequential, Together
from fedsim.flower.session import FedsimStrategy, Session, intercept
from fedsim.scenario import Scenario
from fedsim.simulation import Federation, RoundRecord, State
from fedsim.simulation.rounds import initial_record, initial_state
from fedsim.spawning import num_cores

log = logging.getLogger("fedsim")

OnRound = Callable[[State, RoundRecord], None]
"""Called after every round (and for round 0) with the state to resume from."""

RunnerOf = Callable[[Federation], Runner]

MAX_REPEATS = 3


def run_rounds(
    federation: Federation,
    state: State | None,
    on_round: OnRound,
    runner_of: RunnerOf | None = None,
) -> State:
    """Run every round after `state` (None: from the beginning) and return the last state.

    Args:
        runner_of: where clients train, if not where the scenario's engine says.
    """
    if state is not None and state.round >= federation.scenario.rounds:
        return state
    logging.getLogger("flwr").setLevel(logging.WARNING)
    identify_process()
    set_exactness(federation.scenario)
    model = federation.build_model()
    session = Session(federation, model, state or initial_state(model))
    if state is None:
        with torch_threads(session.threads):
            on_round(session.state, initial_record(federation, model, session.state))
    runner = (runner_of or make_runner)(federation)
    session.by_reference = runner.by_reference
    try:
        total = federation.scenario.clients.total
        grid = SimulationGrid(total, runner, partial(intercept, session))
        context = Context(RUN_ID, 1, {}, RecordDict(), {})
        server_app(session, on_round)(grid, context)
    finally:
        runner.close()
        torch.use_deterministic_algorithms(False)
    return session.state


def server_app(session: Session, on_round: OnRound) -> ServerApp:
    """The one ServerApp: its own loop over rounds, because Flower's always begins at 1."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedsimStrategy(session)
        while session.state.round < session.federation.scenario.rounds:
            _play_round(session, strategy, grid)
            if session.record is not None:
                on_round(session.state, session.record)

    return app


def _play_round(session: Session, strategy: FedsimStrategy, grid: Grid) -> None:
    """Send, receive and aggregate once; a round with too few replies is left to be repeated."""
    number = session.state.round + 1
    messages = strategy.configure_train(number, session.model_record(), ConfigRecord(), grid)
    strategy.aggregate_train(number, grid.send_and_receive(messages))
    server = session.federation.scenario.server
    if session.record is None:
        allowed = MAX_REPEATS if server.on_too_few == "repeat" else 0
        if session.attempt > allowed:
            raise RunError(
                f"round {number}: fewer than server.min_replies={server.min_replies} clients "
                f"replied in {session.attempt} attempt(s) ({_told(session)}). "
                "The run can be resumed"
            )
        log.warning("round %d is repeated: too few replies", number)


def _told(session: Session) -> str:
    """Why replies failed; where all are not finite, it is the model that they started from."""
    told = ", ".join(f"{count} {reason}" for reason, count in session.reasons.items())
    if session.cohort and session.reasons["non_finite"] == len(session.cohort.clients):
        told += f": {OUT_OF_RANGE}"
    return told


def make_runner(federation: Federation) -> Runner:
    """The runner of the scenario's engine."""
    engine = federation.scenario.engine
    if trains_together(federation):
        return Together(federation)
    workers = num_workers(federation.scenario)
    limit = federation.scenario.clients.timeout
    if engine.name == "ray":
        from fedsim.flower.ray_actors import RayActors

        return Pool(RayActors(federation, workers), workers, limit)
    if workers == 1:
        return Sequential(federation)
    return Pool(Processes(federation), workers, limit)


def trains_together(federation: Federation) -> bool:
    """Whether the whole cohort is trained at once: asked for, or `auto` on CUDA in one process."""
    engine = federation.scenario.engine
    if engine.name != "inprocess" or engine.workers not in (1, "auto"):
        return False
    if engine.trainer == "auto":
        return federation.device.type == "cuda"
    return engine.trainer == "vectorised"


def num_workers(scenario: Scenario) -> int:
    """`engine.workers`, where `auto` is a worker per CPU that this process may use."""
    wanted = scenario.engine.workers
    limit = num_cores() if wanted == "auto" else int(wanted)
    if scenario.engine.trainer == "vectorised":
        limit = 1
    return max(1, min(limit, scenario.clients.per_round))
