"""Pictures of an attack: a trigger on test images, or images that an attacker trains on."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from fedsim.flower.client_app import torch_threads
from fedsim.poisons.distributed_backdoor import PARTS
from fedsim.registry import Choice
from fedsim.results.files import replace_file
from fedsim.seeding import seeded
from fedsim.simulation import Federation, State, Visit, pool
from fedsim.simulation.client import malicious_plan, poison_time, poisoned_data
from fedsim.simulation.network import is_learned, network_of
from fedsim.simulation.rounds import initial_state
from fedsim.triggers import bound
from fedsim.types import Split

SHOWN = 6
"""Images of a kind."""

log = logging.getLogger("fedsim")


def examples(federation: Federation, state: State | None = None) -> dict[str, Tensor]:
    """What there is to see of the attack, by name, images (k, c, h, w); nothing without a poison.

    With a trigger: test images `clean` and `stamped`, `part0` … of a distributed one; of one that
    was learned also `first`, stamped before it learned, and `pattern`, what it leaves of black.
    Without: `trained` and `trained_labels`, what an attacker trains on in the round of `state`
    (before round 1: in round 1), `alike`, its own images most like them where they are crafted,
    and `measured`, those on which attack success is measured.
    """
    adversary = federation.scenario.adversary
    poison = adversary and adversary.poison
    if not poison:
        return {}
    trigger = next((one for one in poison.walk() if one.plugin.kind == "triggers"), None)
    if trigger is not None:
        shown = _stamped(federation, trigger, state.pattern if state else None)
        return shown | (_parts(shown, trigger) if poison.name == "distributed_backdoor" else {})
    return _trained(federation, poison, state)


def write_examples(federation: Federation, folder: Path, state: State | None = None) -> None:
    """Write `examples.safetensors`; at the end of a run (`state`) only if something has changed."""
    from safetensors.torch import save

    if state is not None and not _is_moving(federation):
        return
    try:
        with torch_threads(federation.scenario.engine.server_threads):
            shown = examples(federation, state)
        if shown:
            plain = {name: images.cpu().contiguous() for name, images in shown.items()}
            replace_file(folder / "examples.safetensors", save(plain))
    except Exception as error:  # a user's poison that fails, a full disk: told of in the rounds
        log.warning("no pictures of the attack: %s: %s", type(error).__name__, error)


def changed_rows(before: Split, after: Split) -> Tensor:
    """Indices of the rows of `after` that are not the same row of `before`, pixels and label."""
    both = min(len(before), len(after))
    images = (before.images[:both] != after.images[:both]).flatten(1).any(dim=1)
    changed = images | (before.labels[:both] != after.labels[:both])
    return torch.cat([changed, changed.new_ones(len(after) - both)]).nonzero().flatten()


def _is_moving(federation: Federation) -> bool:
    """Whether the attack learns from the global model, so that it looks otherwise each round."""
    adversary = federation.scenario.adversary
    if adversary is None or adversary.poison is None:
        return False
    learns = any(is_learned(choice) for choice in adversary.poison.walk())
    return learns or poison_time(adversary.poison) == "round"


def _stamped(federation: Federation, trigger: Choice, pattern: Tensor | None) -> dict[str, Tensor]:
    clean = federation.data.test.take(torch.arange(min(SHOWN, len(federation.data.test)))).images
    stamp = trigger.build()
    if pattern is not None:
        learned = bound(stamp, pattern)
        black = torch.zeros_like(clean[:1])
        return {
            "clean": clean,
            "first": stamp(clean),
            "stamped": learned(clean),
            "pattern": learned(black),
        }
    return {"clean": clean, "stamped": stamp(clean)}


def _parts(shown: dict[str, Tensor], trigger: Choice) -> dict[str, Tensor]:
    """What each of those who share the trigger stamps."""
    stamp = trigger.build()
    return {f"part{part}": stamp(shown["clean"], part=part) for part in range(PARTS)}


def _trained(federation: Federation, poison: Choice, state: State | None) -> dict[str, Tensor]:
    own, poisoned = _poisoned(federation, state)
    probe = federation.probe
    measured = {} if probe is None else {"measured": probe.images[:SHOWN]}
    if not len(poisoned):
        return measured
    shown = {"trained": poisoned.images, "trained_labels": poisoned.labels}
    if poison_time(poison) == "round":
        distance = torch.cdist(poisoned.images.flatten(1), own.images.flatten(1))
        shown["alike"] = own.images[distance.argmin(dim=1)]
    return shown | measured


def _poisoned(federation: Federation, state: State | None) -> tuple[Split, Split]:
    """An attacker's own images, and some of those it trains on otherwise than it would."""
    model = federation.build_model()
    at = state or initial_state(model)
    params = at.params if at.previous_params is None else at.previous_params
    round_ = max(1, at.round)
    own = nothing = federation.data.train.take(torch.arange(0))
    for client in pool(federation.scenario, round_):
        own = federation.data.train.take(federation.clients[client])
        with seeded(federation.scenario.seed, "layers", round_, client):
            after, each_batch = poisoned_data(
                federation,
                Visit(client, round_, acting=True),
                own,
                lambda: network_of(model, params, at.buffers),
            )
        if each_batch is not None:
            size = malicious_plan(federation, round_)[0].batch_size
            own = Split(own.images[:size], own.labels[:size])
            after = Split(*each_batch(own.images, own.labels))
        rows = changed_rows(own, after)[:SHOWN]
        if len(rows):
            return own, after.take(rows)
    return own, nothing
