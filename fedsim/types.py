"""The small frozen values that rules, attacks, poisons and data sets exchange."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

State = Mapping[str, Any]
"""What a rule, an attack or an optimizer remembers between rounds: names to tensors."""


class Layers(dict[str, slice]):
    """Parameter name → its slice of d, in `named_parameters()` order."""

    @property
    def last_weight(self) -> slice:
        """The slice of the last layer's weight: the last name that ends in `weight`."""
        return next(where for name, where in reversed(self.items()) if name.endswith("weight"))

    @property
    def last_bias(self) -> slice | None:
        """The slice of the last layer's bias, or None if the last layer has none."""
        name, where = next(reversed(self.items()))
        return where if name.endswith("bias") else None


def _empty_generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@dataclass(frozen=True)
class ServerView:
    """All that a server-side rule may see. It never says who is malicious.

    Rows of a stack belong to `client_ids` in order. `root_update`, `root` are None unless the
    scenario grants root data, `predict` unless the rule declares the need. `image_shape` is the
    (c, h, w) that the model takes.
    """

    client_ids: tuple[int, ...]
    num_examples: Shaped[Tensor, " n"]
    params: Float[Tensor, " d"]
    round: int = 1
    num_rounds: int = 1
    previous_params: Float[Tensor, " d"] | None = None
    layers: Layers = field(default_factory=Layers)
    state: State = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=_empty_generator)
    root_update: Float[Tensor, " d"] | None = None
    root: tuple[Tensor, Tensor] | None = None
    predict: Callable[[Tensor, Tensor], Tensor] | None = None
    image_shape: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class AdversaryView:
    """All that the adversary may see when it decides what its clients send.

    `own` (m, d) are its clients' honest results of (poisoned) training; `benign` (h, d) and
    `aggregate`, a copy of the server's rule, are None below the knowledge that grants them. The
    copy takes the benign rows first, then the adversary's own, (h + m, d), or the benign alone.
    `benign_ids` are the clients of the benign rows; None where these are, or where nobody has ids.
    `model` is a copy of the global network, in evaluation mode, `data` its own clients' clean
    images and labels: both are None unless the attack declares the need.
    `shares` (m,) is the weight that a mean over the cohort would give each own row, `server_lr`
    the server's learning rate: both are known to whoever knows the protocol.
    """

    own: Float[Tensor, "m d"]
    num_clients: int
    params: Float[Tensor, " d"]
    benign: Float[Tensor, "h d"] | None = None
    aggregate: Callable[[Tensor], Tensor] | None = None
    previous_update: Float[Tensor, " d"] | None = None
    round: int = 1
    state: State = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=_empty_generator)
    shares: Float[Tensor, " m"] | None = None
    server_lr: float = 1.0
    benign_ids: tuple[int, ...] | None = None
    model: nn.Module | None = None
    data: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Network:
    """The network as functions of flat parameters and images, differentiable in both.

    `params` (d,) are the global ones. `predict` gives logits (b, k), `features` the input (b, f) of
    the last layer. Both are in evaluation mode.
    """

    params: Float[Tensor, " d"]
    predict: Callable[[Tensor, Tensor], Tensor]
    features: Callable[[Tensor, Tensor], Tensor]
    layers: Layers = field(default_factory=Layers)


@dataclass(frozen=True)
class PoisonView:
    """All that a poison may see: the task, its own generator, and what the adversary chose.

    `attacker` is the client's position among the adversary's clients in the order given;
    `chosen` is the part of a chosen set of images (semantic, edge case, target clients) that is
    at hand: the training part when poisoning, the part kept out of training when probing.
    `network` is the current global model for poisons that run once a round, else None.
    """

    num_classes: int
    generator: torch.Generator = field(default_factory=_empty_generator)
    attacker: int = 0
    chosen: "Split | None" = None
    network: Network | None = None
    round: int = 1


@dataclass(frozen=True)
class TriggerView:
    """All that a learned trigger may see when the adversary learns it, once a round.

    `images` (b, c, h, w) and `labels` (b,) are those of the malicious clients that act in the
    round, `pattern` is what was learned before (None at first), `target` the poison's.
    """

    images: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    network: Network
    num_classes: int
    target: int | None = None
    pattern: Tensor | None = None
    round: int = 1
    generator: torch.Generator = field(default_factory=_empty_generator)


@dataclass(frozen=True)
class ConstraintView:
    """What a constraint may see before or after a local step.

    `update` (d,) is local − global parameters so far, `params` (d,) are the global ones,
    `previous_update` (d,) is how the last round moved them (None in the first). Steps count from 1;
    before the first it is 0. `studied` is what the constraint's `study` found, None without one.
    """

    update: Float[Tensor, " d"]
    params: Float[Tensor, " d"]
    step: int
    is_last: bool
    previous_update: Float[Tensor, " d"] | None = None
    studied: Tensor | None = None


class Aggregate(NamedTuple):
    """The outcome of a rule: the update (d,), its weights (n,) if it has any, its new state."""

    update: Float[Tensor, " d"]
    weights: Float[Tensor, " n"] | None
    state: State


class Rows(NamedTuple):
    """The outcome of a preaggregator: rows (m, d), how it mixed them if it did, its new state.

    `matrix` (m, n) is not negative; row k is Σ_i matrix[k, i] · u_i. Without one, row k is still
    that of client k.
    """

    updates: Float[Tensor, "m d"]
    matrix: Float[Tensor, "m n"] | None = None
    state: State = MappingProxyType({})


class Probe(NamedTuple):
    """What attack success is measured on: images, and the class that counts as success.

    `truth` holds the true labels where the images are stamped (for robust accuracy), else None.
    """

    images: Float[Tensor, "b c h w"]
    expected: Int[Tensor, " b"]
    truth: Int[Tensor, " b"] | None


class Selection(NamedTuple):
    """Indices into the training split that a poison's `select` set aside.

    `train` go to the adversary, `held_out` are kept out of everybody's training and probed.
    Where `exclusive`, no client holds those of `train` as its own data any more.
    """

    train: Int[Tensor, " t"]
    held_out: Int[Tensor, " u"]
    exclusive: bool = False


@dataclass(frozen=True)
class Split:
    """Images (N, c, h, w), uint8 in [0, 255] or float32 in [0, 1], and labels (N,) int64."""

    images: Tensor
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """The same split on `device`."""
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Int[Tensor, " k"]) -> "Split":
        """The chosen rows, images as float32 in [0, 1]."""
        return Split(to_float(self.images[indices]), self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, one tensor each."""

    train: Split
    test: Split
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of an image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w


@dataclass(frozen=True)
class DataSource:
    """Where data lie (`FEDSIM_DATA`) and whether they may be downloaded."""

    root: Path
    download: bool = False


def to_float(images: Tensor) -> Float[Tensor, "b c h w"]:
    """Images as float32 in [0, 1]; uint8 is divided by 255, float32 returned as it is."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images
