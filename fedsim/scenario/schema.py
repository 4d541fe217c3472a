"""What a scenario may say: every key with its type, its range, its default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

# The kinds register themselves when their packages are imported.
from fedsim import (
    aggregators,  # noqa: F401
    attacks,  # noqa: F401
    constraints,  # noqa: F401
    datasets,  # noqa: F401
    models,  # noqa: F401
    optimizers,  # noqa: F401
    partitions,  # noqa: F401
    poisons,  # noqa: F401
    postaggregators,  # noqa: F401
    preaggregators,  # noqa: F401
    triggers,  # noqa: F401
)
from fedsim.registry import Choice, OneOf
from fedsim.scenario import checks, identity
from fedsim.strict import Count, Share, Strict

Whole = Annotated[int, Field(gt=0)]
Above = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,99}$")]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict | Choice) else value


Attacks = Annotated[list[Annotated[Choice, OneOf("attacks")]], BeforeValidator(_listed)]


def _default(value: Any) -> Any:
    """A default in the words of the YAML file, checked like one that stands there."""
    return Field(default_factory=lambda: value, validate_default=True)


class Section(Strict):
    """A part of a scenario; the text under a key describes it in the JSON Schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Data(Section):
    """The data set, and how it is divided among the clients."""

    dataset: Annotated[Choice, OneOf("datasets")] = _default({"name": "digits"})
    partition: Annotated[Choice, OneOf("partitions")] = _default({"name": "iid"})


class Model(Section):
    """The network. In YAML its name and parameters stand flat beside the other two keys."""

    network: Annotated[Choice, OneOf("models")]
    normalize: bool = False
    """Whether the model begins with a layer that standardizes its input."""
    weights: str | None = None
    """Path of a checkpoint to start from, relative to the scenario's file."""

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        own = {key: given[key] for key in ("normalize", "weights") if key in given}
        return {"network": {k: v for k, v in given.items() if k not in own}, **own}

    @field_validator("weights")
    @classmethod
    def _absolute(cls, weights: str | None, info: ValidationInfo) -> str | None:
        if weights is None:
            return None
        path = ((info.context or {}).get("folder", Path()) / weights).resolve()
        if not path.is_file():
            raise ValueError(f"{path} is not a file.")
        return str(path)


class Training(Section):
    """Local training: a number of epochs or of steps (one epoch if neither is said)."""

    epochs: Whole | None = None
    """Passes over the client's data."""
    steps: Whole | None = None
    """Optimizer steps, instead of epochs."""
    batch_size: Whole = 64
    lr: Above
    """Learning rate of the local SGD."""
    momentum: Momentum = 0.0
    weight_decay: NotNegative = 0.0
    lr_decay: Decay = 1.0
    """Factor on the learning rate per round."""

    @model_validator(mode="before")
    @classmethod
    def _one_epoch(cls, given: Any) -> Any:
        if isinstance(given, dict) and not {"epochs", "steps"} & given.keys():
            return {"epochs": 1, **given}
        return given


class MaliciousTraining(Training):
    """Local training of an attacker, complete."""

    lr_milestones: list[Annotated[float, Field(gt=0, lt=1)]] = []
    lr_factor: Above = 0.1
    constraints: list[Annotated[Choice, OneOf("constraints")]] = []


class AdversaryTraining(Section):
    """How attackers train where it differs from `clients.training`."""

    epochs: Whole | None = None
    steps: Whole | None = None
    batch_size: Whole | None = None
    lr: Above | None = None
    momentum: Momentum | None = None
    weight_decay: NotNegative | None = None
    lr_decay: Decay | None = None
    lr_milestones: list[Annotated[float, Field(gt=0, lt=1)]] = []
    """Shares of the local steps after which the learning rate is multiplied by lr_factor."""
    lr_factor: Above = 0.1
    constraints: list[Annotated[Choice, OneOf("constraints")]] = []
    """Applied in order after every local step."""

    def merged(self, honest: Training) -> MaliciousTraining:
        """The full training: what is not said here is as in `honest`."""
        own = {name: value for name, value in self if value is not None}
        if "epochs" in own or "steps" in own:
            own = {"epochs": None, "steps": None, **own}
        return MaliciousTraining.model_validate({**dict(honest), **own})


class Clients(Section):
    """The federation's clients and how they train."""

    total: Whole
    per_round: Whole
    """Clients drawn in a round."""
    timeout: Above | None = None
    """Seconds a client may take."""
    training: Training


class Server(Section):
    """What happens to the updates of a round, in this order."""

    preaggregators: list[Annotated[Choice, OneOf("preaggregators")]] = []
    aggregator: Annotated[Choice, OneOf("aggregators")] = _default({"name": "mean"})
    postaggregators: list[Annotated[Choice, OneOf("postaggregators")]] = []
    optimizer: Annotated[Choice, OneOf("optimizers")] = _default({"name": "sgd"})
    lr: Above | dict[Whole, Above] = 1.0
    """A number, or {round: number}: from that round on."""
    buffers: Literal["average", "keep"] = "average"
    root_data: int | float | None = None
    """Images (a number or a share) that the server holds, split off the training data."""
    min_replies: Whole = 1
    on_too_few: Literal["repeat", "stop"] = "repeat"

    @field_validator("root_data")
    @classmethod
    def _number_or_share(cls, root: float | None) -> float | None:
        if root is not None and not (root > 0 if isinstance(root, int) else 0 < root < 1):
            raise ValueError(f"must be a number of images or a share in (0, 1); got {root}.")
        return root

    def lr_at(self, round: int) -> float:
        """The server's learning rate in `round` (which counts from 1)."""
        if not isinstance(self.lr, dict):
            return self.lr
        return self.lr[max(start for start in self.lr if start <= round)]


class Schedule(Section):
    """When the attackers act: every `every`-th round of first … last, or in `rounds`."""

    first: Whole = 1
    last: Whole | None = None
    """The last round of the run if absent."""
    every: Whole = 1
    rounds: Annotated[list[Whole], Field(min_length=1)] | None = None
    """The rounds themselves, instead of first, last and every."""
    forced: bool = False
    """Whether acting attackers enter the cohort before anybody else."""
    turns: Literal["all", "each"] = "all"
    """each: the k-th of `rounds` belongs to the k-th attacker alone."""
    pool: Literal["fixed", "redrawn"] = "fixed"
    """redrawn: who is malicious is drawn anew in every round."""

    def active(self, round: int, num_rounds: int) -> bool:
        """Whether the adversary acts in `round` of a run of `num_rounds`."""
        if self.rounds is not None:
            return round in self.rounds
        last = num_rounds if self.last is None else self.last
        return self.first <= round <= last and (round - self.first) % self.every == 0

    def turn(self, round: int) -> int | None:
        """The position of the one attacker whose turn it is; None if it is nobody's alone."""
        if self.turns == "all" or self.rounds is None or round not in self.rounds:
            return None
        return self.rounds.index(round)


class Adversary(Section):
    """The one mind behind all malicious clients. `clients: 0` only measures the poison."""

    clients: Count | list[Count] | None = None
    """Ids, or a number of clients."""
    fraction: Share | None = None
    """Share of all clients, instead of `clients`; the nearest whole number counts."""
    knowledge: Literal["own", "benign", "defense"] = "own"
    schedule: Schedule = _default({})
    poison: Annotated[Choice, OneOf("poisons")] | None = None
    """What it does to the data."""
    training: AdversaryTraining | None = None
    """How its clients train."""
    attack: Attacks = []
    """What its clients send: one attack, or a list applied in order."""

    def count(self, total: int) -> int:
        """How many of `total` clients are malicious."""
        if isinstance(self.clients, list):
            return len(self.clients)
        if self.clients is not None:
            return self.clients
        return int((self.fraction or 0) * total + 0.5 + 1e-9)


class Engine(Section):
    """Where clients train. Nothing here but device, trainer and threads can change a number."""

    name: Literal["inprocess", "ray"] = "inprocess"
    trainer: Literal["auto", "sequential"] = "auto"
    workers: Whole | Literal["auto"] = 1
    server_threads: Whole = 1
    address: str | None = None
    """Address of a Ray cluster; a private one is started if absent."""
    num_cpus: Above = 1.0
    num_gpus: NotNegative = 0.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False


class Scenario(Section):
    """One run, fully described."""

    name: Name
    seed: Seed = 0
    rounds: Whole
    evaluate_every: Whole = 1
    clean_twin: bool = False
    """Whether the same run without attackers is made for comparison."""
    data: Data = _default({})
    model: Model
    clients: Clients
    server: Server = _default({})
    adversary: Adversary | None = None
    engine: Engine = _default({})

    _contents: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        checks.check(self)
        return self

    def model_post_init(self, context: Any) -> None:
        """Remember what the user's files hold now, for `hash8`."""
        self._contents.update(identity.contents(self))

    @property
    def choices(self) -> Iterator[Choice]:
        """All plug-ins of the scenario, nested ones included."""
        return identity.choices(self)

    @property
    def num_malicious(self) -> int:
        """How many clients belong to the adversary."""
        return self.adversary.count(self.clients.total) if self.adversary else 0

    @property
    def hash8(self) -> str:
        """Eight hex digits that change with whatever can change a number of the run."""
        return identity.hash8(self, self._contents)

    def resolved(self) -> dict[str, Any]:
        """Plain values in the form of the YAML file, every default visible."""
        return identity.plain(self, lambda choice: choice.name)

    def twin(self) -> "Scenario":
        """The same run with nobody attacking; a poison's success is still measured."""
        if self.adversary is None:
            return self.model_copy(update={"clean_twin": False})
        honest = Adversary(clients=0, poison=self.adversary.poison)
        return self.model_copy(update={"adversary": honest, "clean_twin": False})
