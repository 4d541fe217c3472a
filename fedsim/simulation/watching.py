"""What the monitors say of the model after a round."""

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from fedsim.errors import RunError
from fedsim.scenario.after import distinct_names
from fedsim.simulation.evaluation import predictor
from fedsim.simulation.federation import Federation
from fedsim.suspects import Watch

if TYPE_CHECKING:
    from fedsim.simulation.rounds import State


def watch(
    federation: Federation, model: nn.Module, state: "State"
) -> tuple["State", dict[str, str]]:
    """The state with what the monitors remember, and the alarms of those that raised one.

    They see copies of the server's clean data, and can change nothing but their own memory.
    """
    chosen, root = federation.scenario.monitors, federation.root
    if not chosen or root is None:
        return state, {}
    predict = partial(predictor(model, state.buffers), state.params)
    memories: list[dict[str, Any]] = []
    alarms: dict[str, str] = {}
    names = distinct_names(chosen)
    for index, choice in enumerate(chosen):
        seen = Watch(
            state.round,
            predict,
            root.images.clone(),
            root.labels.clone(),
            federation.data.num_classes,
            copy.deepcopy(state.monitors[index]) if state.monitors else {},
        )
        try:
            alarm, memory = choice.build()(seen)
            memories.append(dict(memory))
        except Exception as error:  # whatever a user's monitor raises is told with its round
            text = f"{type(error).__name__}: {error}"
            raise RunError(f"round {state.round}: monitors.{index} raised {text}") from error
        if alarm is not None:
            alarms[names[index]] = str(alarm)
    return replace(state, monitors=tuple(memories)), alarms
