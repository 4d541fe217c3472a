"""The server's rule: preaggregators, then the aggregator, then postaggregators."""

from torch import Tensor

from fedsim.aggregators import Rule, lift
from fedsim.scenario import Scenario
from fedsim.types import Aggregate, ServerView


def pipeline(scenario: Scenario) -> Rule:
    """(updates (n, d), view) → Aggregate for the whole of `server`; weights are the rule's own."""
    server = scenario.server
    before = [(choice.build(), "view" in choice.plugin.takes) for choice in server.preaggregators]
    rule = lift(server.aggregator)
    after = [choice.build() for choice in server.postaggregators]

    def aggregate(updates: Tensor, view: ServerView) -> Aggregate:
        for transform, sees_view in before:
            updates = transform(updates, view) if sees_view else transform(updates)
        update, weights, state = rule(updates, view)
        for transform in after:
            update = transform(update, view)
        return Aggregate(update, weights, state)

    return aggregate
