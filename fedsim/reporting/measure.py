"""In words: what a scenario does, and on which images its attack success was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.reporting.labels import RunLike
from fedsim.reporting.spelling import NOBODY, attacks

Plugin = Mapping[str, Any]

NO_SUCCESS = "No attack success applies: this scenario has no poison with a success of its own."


def success_words(runs: Sequence[RunLike]) -> str:
    """One sentence on how attack success was measured, true for all `runs`."""
    sentences = {_sentence(_poison(run.scenario)) for run in runs}
    if len(sentences) > 1:
        return "Attack success is measured as each run's poison defines it."
    return sentences.pop() if sentences else NO_SUCCESS


def _poison(scenario: Mapping[str, Any]) -> Plugin:
    return (scenario.get("adversary") or {}).get("poison") or {}


def _sentence(poison: Plugin) -> str:
    images, predicted = _measured(poison)
    if not images:
        return NO_SUCCESS
    return f"Attack success is the share of {images} that the model predicts as {predicted}."


def _measured(poison: Plugin) -> tuple[str, str]:
    """Which images are measured, and what counts as success."""
    target = f"class {poison.get('target')}"
    match poison.get("name"):
        case None | "generated":
            return "", ""
        case "backdoor" | "distributed_backdoor":
            return _stamped(poison, target)
        case "label_flip":
            return _flipped(poison, target)
        case "semantic" | "edge_case" | "target_clients":
            return "that part of the attacked images that was kept out of training", target
        case "instance_key":
            return "100 fresh noisy copies of the key, none of them trained on,", target
        case "feature_collision" | "watermarked_collision" | "convex_polytope":
            return "the target instances", "the base class"
    return "the test images of the poison", "what the poison wants"


def _stamped(poison: Plugin, target: str) -> tuple[str, str]:
    if poison.get("mode") == "all_to_all":
        return "all test images, stamped with the trigger,", "the class after their own"
    if poison.get("source") is not None:
        return f"the test images of class {poison['source']}, stamped with the trigger,", target
    return f"the test images not of {target}, stamped with the whole trigger,", target


def _flipped(poison: Plugin, target: str) -> tuple[str, str]:
    match poison.get("mode", "pair"):
        case "all_to_one":
            return f"the test images not of {target}", target
        case "reversed":
            return "the test images whose mirrored class differs", "that mirrored class"
        case "random":
            return "", ""
    return f"the test images of class {poison.get('source')}", target


def facts(scenario: Mapping[str, Any]) -> dict[str, str]:
    """The few facts that a reader needs before the numbers."""
    data, clients = scenario.get("data") or {}, scenario.get("clients") or {}
    split = [_name(data.get("dataset")), _name(data.get("partition"))]
    drawn = clients.get("per_round")
    listed = {
        "data": " / ".join(filter(None, split)),
        "model": _name(scenario.get("model")),
        "clients": f"{clients['total']}, {drawn} a round" if drawn else "",
        "rounds": str(scenario.get("rounds") or ""),
        "server": _pipeline(scenario.get("server") or {}),
        "adversary": _adversary(scenario.get("adversary")),
    }
    return {key: text for key, text in listed.items() if text}


def _pipeline(server: Mapping[str, Any]) -> str:
    before, after = server.get("preaggregators") or [], server.get("postaggregators") or []
    return " → ".join(filter(None, map(_name, [*before, server.get("aggregator"), *after])))


def _adversary(adversary: Mapping[str, Any] | None) -> str:
    if not adversary or not attacks({"adversary": adversary}):
        return NOBODY
    clients, fraction = adversary.get("clients"), adversary.get("fraction")
    count = len(clients) if isinstance(clients, list) else clients
    who = (
        f"{100 * fraction:g} % of all clients" if count is None and fraction else f"{count} clients"
    )
    attack = adversary.get("attack") or []
    chain = attack if isinstance(attack, list) else [attack]
    parts = [_name(adversary.get("poison")), *map(_name, chain)]
    return ": ".join(filter(None, [who, " + ".join(filter(None, parts))]))


def _name(plugin: Any) -> str:
    """A plug-in with its parameters: `dirichlet (alpha 0.5)`; what is nested shows its name."""
    if not isinstance(plugin, Mapping) or "name" not in plugin:
        return ""
    shown = [
        f"{key} {_name(value) or _flat(value)}"
        for key, value in plugin.items()
        if key not in ("name", "weights", "normalize") and value is not None
    ]
    return f"{plugin['name']} ({', '.join(shown)})" if shown else str(plugin["name"])


def _flat(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
