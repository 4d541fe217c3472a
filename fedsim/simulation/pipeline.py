"""The server's rule: preaggregators, then the aggregator, then postaggregators."""

from collections.abc import Callable, Sequence

from torch import Tensor

from fedsim.aggregators import Rule, lift
from fedsim.scenario import Scenario
from fedsim.types import Aggregate, ServerView


def pipeline(scenario: Scenario) -> Rule:
    """(updates (n, d), view) → Aggregate for the whole of `server`; weights are the rule's own."""
    server = scenario.server
    return compose(
        [choice.build() for choice in server.preaggregators],
        lift(server.aggregator),
        [choice.build() for choice in server.postaggregators],
    )


def compose(
    before: Sequence[Callable[[Tensor], Tensor]],
    rule: Rule,
    after: Sequence[Callable[[Tensor, ServerView], Tensor]],
) -> Rule:
    """The steps as one rule."""

    def aggregate(updates: Tensor, view: ServerView) -> Aggregate:
        for transform in before:
            updates = transform(updates)
        outcome = rule(updates, view)
        update = outcome.update
        for transform_after in after:
            update = transform_after(update, view)
        return Aggregate(update, outcome.weights, outcome.state)

    return aggregate
