"""Checks on the finished model: inspected, repaired or filtered, and measured before and after."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from fedsim.errors import RunError
from fedsim.registry import Choice
from fedsim.scenario.after import short_name
from fedsim.seeding import generator, seeded
from fedsim.simulation.evaluation import BATCH, evaluate
from fedsim.simulation.federation import Federation, Normalized
from fedsim.suspects import Filter, Recovered, Suspect, Verdict
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import to_float

Scores = dict[str, float | None]


class Front(NamedTuple):
    """The scores with a filter in front, and what it caught."""

    scores: Scores
    caught: Scores


@dataclass(frozen=True)
class Checked:
    """What came of one check: its entry in the summary, and the model that the next one sees.

    `trigger` is what an inspection recovered; `problem` says why there was nothing to be found.
    """

    record: dict[str, Any]
    model: nn.Module
    repaired: bool = False
    trigger: Recovered | None = None
    problem: str | None = None


def check(
    federation: Federation,
    model: nn.Module,
    choices: Sequence[Choice],
    *,
    pattern: Tensor | None = None,
    cache: Path | None = None,
) -> Iterator[Checked]:
    """The checks one after another; a repair's result is what the next one sees.

    A check that raises ValueError finds and changes nothing. `pattern` is that of a learned
    trigger. Raises: RunError for any other failure of a check.
    """
    verdict: Verdict | None = None
    scores = measure(federation, model, pattern)
    for position, choice in enumerate(choices):
        suspect = suspect_of(federation, model, position, verdict, cache)
        answer, problem, seconds = _asked(choice, suspect, position)
        entry = {"name": short_name(choice), "kind": choice.plugin.kind, "before": scores}
        found: dict[str, Any] = {"after": None, "verdict": None, "caught": None}
        checked = Checked({}, model, problem=problem)
        match choice.plugin.kind, answer:
            case "inspections", Verdict():
                verdict, found["verdict"] = answer, _told(answer)
                checked = Checked({}, model, trigger=answer.trigger)
            case "repairs", nn.Module():
                model = _repaired(choice, answer, model)
                checked = Checked({}, model, repaired=True)
                found["after"] = scores = measure(federation, model, pattern)
            case "filters", front if callable(front):
                after, caught = behind(federation, model, front, pattern)
                found |= {"after": after, "caught": caught}
            case _ if problem is None:
                _refuse(choice, f"returned {type(answer).__name__}")
        record = {**entry, **found, "seconds": seconds}
        yield Checked(record, checked.model, checked.repaired, checked.trigger, problem)


def suspect_of(
    federation: Federation,
    model: nn.Module,
    position: int = 0,
    verdict: Verdict | None = None,
    cache: Path | None = None,
) -> Suspect:
    """What the check at `position` may see: copies, nothing of the test split or clients."""
    root, data = federation.root, federation.data
    return Suspect(
        model=_still(copy.deepcopy(model)),
        shape=data.shape,
        num_classes=data.num_classes,
        fresh=_newborn(federation, model),
        generator=generator(federation.scenario.seed, "after", position),
        images=None if root is None else root.images.clone(),
        labels=None if root is None else root.labels.clone(),
        verdict=verdict,
        cache=cache,
    )


def measure(federation: Federation, model: nn.Module, pattern: Tensor | None = None) -> Scores:
    """Accuracy on the test split, and attack success rate (None where it does not apply)."""
    apart = copy.deepcopy(model)
    scores = evaluate(federation, apart, flatten_params(apart), flatten_buffers(apart), pattern)
    return {key: scores[key] for key in ("accuracy", "attack_success_rate")}


def behind(
    federation: Federation, model: nn.Module, front: Filter, pattern: Tensor | None = None
) -> Front:
    """The scores of `model` with the filter in front, and what share of inputs that changes.

    A rejected input is neither classified right nor as the target. Caught are the `triggered`
    ones that met the target without the filter and do not any more, and the `clean` ones that
    were right and are not; None where there were none.
    """
    test, probe = federation.data.test, federation.probe_with(pattern)
    right = _hits(model, test.images, test.labels)
    still = _hits(model, test.images, test.labels, front)
    scores: Scores = {"accuracy": _share(still), "attack_success_rate": None}
    caught = {"triggered": None, "clean": _share(~still[right])}
    if probe is not None:
        met = _hits(model, probe.images, probe.expected)
        still = _hits(model, probe.images, probe.expected, front)
        scores["attack_success_rate"] = _share(still)
        caught["triggered"] = _share(~still[met])
    return Front(scores, caught)


def predictions(model: nn.Module, images: Tensor, front: Filter | None = None) -> Tensor:
    """The class (b,) of each image; −1 for one that the filter rejects or the model cannot tell.

    The model is used, and put into evaluation mode, as in every evaluation.
    """
    model.eval()
    found = []
    with torch.no_grad():
        for batch in images.split(BATCH):
            seen = to_float(batch)
            rejected = torch.zeros(len(seen), dtype=torch.bool, device=seen.device)
            if front is not None:
                seen, rejected = _filtered(front, seen)
            logits = model(seen)
            lost = rejected | logits.isnan().any(dim=1)
            found.append(torch.where(lost, -1, logits.argmax(dim=1)))
    return torch.cat(found)


def _asked(choice: Choice, suspect: Suspect, position: int) -> tuple[Any, str | None, float]:
    """What the check answers, why it could not, and the seconds that it took."""
    started, answer, problem = time.perf_counter(), None, None
    try:
        answer = choice.build()(suspect)
    except ValueError as error:
        problem = str(error)
    except Exception as error:  # whatever a user's check raises is told with its place
        text = f"{type(error).__name__}: {error}"
        raise RunError(f"after.{position}: {choice.name} raised {text}") from error
    return answer, problem, time.perf_counter() - started


def _told(verdict: Verdict) -> dict[str, Any]:
    return {
        "backdoored": bool(verdict.backdoored),
        "score": float(verdict.score),
        "threshold": float(verdict.threshold),
        "target": None if verdict.target is None else int(verdict.target),
    }


def _repaired(choice: Choice, answer: nn.Module, before: nn.Module) -> nn.Module:
    """The repaired model, whose weights must fit the network of the scenario."""
    if _form(answer.state_dict()) != _form(before.state_dict()):
        _refuse(choice, "returned a network of another form than it was given")
    return _still(copy.deepcopy(answer))


def _form(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in tensors.items()]


def _refuse(choice: Choice, text: str) -> NoReturn:
    wanted = {"inspections": "a Verdict", "repairs": "the network repaired", "filters": "a Filter"}
    raise RunError(f"after: {choice.name} {text}; must return {wanted[choice.plugin.kind]}")


def _still(model: nn.Module) -> nn.Module:
    """`model` itself, in evaluation mode and without gradients."""
    return model.eval().requires_grad_(False)


def _newborn(federation: Federation, model: nn.Module) -> Callable[[torch.Generator], nn.Module]:
    """Builds new networks of the model's architecture; holds nothing of the federation's data."""
    network, device = federation.scenario.model.network, federation.device
    shape, num_classes = federation.data.shape, federation.data.num_classes
    constants = (
        (model.mean.flatten(), model.std.flatten()) if isinstance(model, Normalized) else None
    )

    def fresh(generator: torch.Generator) -> nn.Module:
        draw = torch.randint(2**62, (), generator=generator, device=generator.device)
        with seeded(int(draw), "fresh"):
            born: nn.Module = network.build()(shape, num_classes)
        return (born if constants is None else Normalized(born, *constants)).to(device)

    return fresh


def _filtered(front: Filter, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the filter lets through; RunError where it is not images and a mark for each."""
    try:
        seen, rejected = front(images.clone())
    except Exception as error:  # whatever a user's filter raises
        text = f"{type(error).__name__}: {error}"
        raise RunError(f"after: a filter raised {text} on {len(images)} images") from error
    if seen.shape != images.shape or rejected.shape != images.shape[:1]:
        text = f"{tuple(seen.shape)} and {tuple(rejected.shape)} for {tuple(images.shape)}"
        raise RunError(f"after: a filter must return images and a mark for each; got {text}")
    return seen, rejected.bool()


def _hits(model: nn.Module, images: Tensor, labels: Tensor, front: Filter | None = None) -> Tensor:
    return predictions(model, images, front) == labels


def _share(which: Tensor) -> float | None:
    return which.double().mean().item() if len(which) else None
