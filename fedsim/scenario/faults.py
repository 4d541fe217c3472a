"""Clients that fail on purpose: what goes wrong, at whom, and when."""

from typing import Annotated, Literal

from pydantic import Field

from fedsim.scenario.section import Above, Section, Whole
from fedsim.strict import Count


class Fault(Section):
    """A failure to simulate. The first of the list that meets a client and a round is played."""

    name: Literal[
        "raise",
        "nan",
        "inf",
        "wrong_shape",
        "missing_key",
        "junk",
        "forged_count",
        "silent",
        "exit",
        "slow",
    ]
    """raise: an exception in training. nan, inf: one such value in the update. wrong_shape: one
    value too few. missing_key: a reply without the update. junk: bytes that are no array.
    forged_count: claims `count` examples. silent: no reply. exit: the worker's process ends (one
    in-process worker: the client is lost). slow: takes `seconds` longer."""
    clients: Annotated[list[Count], Field(min_length=1)] | None = None
    """Ids; all clients if absent."""
    rounds: Annotated[list[Whole], Field(min_length=1)] | None = None
    """All rounds if absent."""
    count: int | float = 10**18
    """What forged_count claims; any number."""
    seconds: Above | None = None
    """How long slow waits before it trains; one second more than clients.timeout if absent."""

    def meets(self, client: int, round: int) -> bool:
        """Whether this fault is `client`'s in `round`."""
        return (self.clients is None or client in self.clients) and (
            self.rounds is None or round in self.rounds
        )
