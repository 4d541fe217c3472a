"""The failures of `faults:`, played where a real client would fail: in and after its training."""

import math
import os
import time
from dataclasses import replace

from flwr.app import Array, ArrayRecord, Message

from fedsim.flower.messages import reply_message
from fedsim.scenario import Scenario
from fedsim.scenario.faults import Fault
from fedsim.simulation import Reply


class SilentError(Exception):
    """The client gives no reply at all."""


class LostError(Exception):
    """The client is lost with its process."""


def fault_of(scenario: Scenario, client: int, round_: int) -> Fault | None:
    """The fault that `client` is to play in `round_`, if any."""
    return next((fault for fault in scenario.faults if fault.meets(client, round_)), None)


def play_before(fault: Fault, timeout: float | None, expendable: bool) -> None:
    """What goes wrong instead of training. `expendable`: this process may be ended."""
    match fault.name:
        case "raise":
            raise RuntimeError("a simulated fault")
        case "silent":
            raise SilentError
        case "exit":
            if expendable:
                os._exit(1)
            raise LostError("a simulated fault")
        case "slow":
            time.sleep(fault.seconds or (timeout or 0.0) + 1.0)


def faulty_reply(fault: Fault, reply: Reply, order: Message) -> Message:
    """The message of `reply` as the fault spoils it."""
    if reply.update is None:
        raise ValueError("a client that trained has an update")
    match fault.name:
        case "nan" | "inf":
            spoilt = reply.update.clone()
            spoilt[0] = getattr(math, fault.name)
            return reply_message(replace(reply, update=spoilt), order)
        case "wrong_shape":
            return reply_message(replace(reply, update=reply.update[:-1]), order)
    message = reply_message(reply, order)
    match fault.name:
        case "forged_count":
            message.content.metric_records["metrics"]["num-examples"] = fault.count
        case "missing_key":
            del message.content["update"]
        case "junk":
            junk = Array("float32", (1,), "numpy.ndarray", b"junk")
            message.content["update"] = ArrayRecord({"0": junk, "1": junk})
    return message
