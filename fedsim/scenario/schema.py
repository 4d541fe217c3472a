"""What a scenario may say: every key with its type, its range, its default."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

# The kinds register themselves when their packages are imported.
from fedsim import (
    aggregators,  # noqa: F401
    datasets,  # noqa: F401
    models,  # noqa: F401
    optimizers,  # noqa: F401
    partitions,  # noqa: F401
    postaggregators,  # noqa: F401
    preaggregators,  # noqa: F401
)
from fedsim.registry import Choice, OneOf
from fedsim.scenario import checks, identity
from fedsim.scenario.adversary import Adversary
from fedsim.scenario.after import Checks, Monitors
from fedsim.scenario.faults import Fault
from fedsim.scenario.section import Above, NotNegative, Section, Whole, default
from fedsim.scenario.training import Training

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,99}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Data(Section):
    """The data set, and how it is divided among the clients."""

    dataset: Annotated[Choice, OneOf("datasets")] = default({"name": "digits"})
    partition: Annotated[Choice, OneOf("partitions")] = default({"name": "iid"})


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
        path: Path = (info.context or {}).get("folder", Path()) / weights
        if not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise ValueError(f"{os.path.abspath(path)} is not a file that can be read.")
        return os.path.realpath(path)


class Clients(Section):
    """The federation's clients and how they train."""

    total: Whole
    per_round: Whole
    """Clients drawn in a round."""
    timeout: Above | None = None
    """Seconds a client may take. Worker processes and Ray end one that takes longer; with one
    worker in this process it is noticed when the client returns."""
    training: Training


class Server(Section):
    """What happens to the updates of a round, in this order."""

    preaggregators: list[Annotated[Choice, OneOf("preaggregators")]] = default([])
    aggregator: Annotated[Choice, OneOf("aggregators")] = default({"name": "mean"})
    postaggregators: list[Annotated[Choice, OneOf("postaggregators")]] = default([])
    optimizer: Annotated[Choice, OneOf("optimizers")] = default({"name": "sgd"})
    lr: Above | dict[Whole, Above] = 1.0
    """A number, or {round: number}: from that round on."""
    buffers: Literal["average", "keep"] = "average"
    root_data: int | float | None = None
    """Images (a number or a share) that the server holds, split off the training data."""
    min_replies: Whole = 1
    """Fewer usable replies do not make a round."""
    on_too_few: Literal["repeat", "stop"] = "repeat"
    """repeat: the round again with a freshly drawn cohort, at most three times; then stop."""

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


class Engine(Section):
    """Where clients train. The name, workers, address and shares of Ray change no number."""

    name: Literal["inprocess", "ray"] = "inprocess"
    trainer: Literal["auto", "sequential", "vectorised"] = "auto"
    """One client after the other, or many at once; auto: many at once on CUDA in one process."""
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
    data: Data = default({})
    model: Model
    clients: Clients
    server: Server = default({})
    adversary: Adversary | None = None
    faults: list[Fault] = default([])
    """Failures of clients to simulate."""
    monitors: Monitors = default([])
    """What looks at the model after every round."""
    after: Checks = default([])
    """What is done with the finished model, in this order."""
    engine: Engine = default({})

    _contents: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        checks.check(self)
        return self

    def model_post_init(self, context: Any) -> None:
        """Remember what the user's files hold now, for `hash8`."""
        self._contents.update(identity.contents(self))

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, defaults and the content of the user's files included."""
        if not isinstance(other, Scenario):
            return NotImplemented
        return self.resolved() == other.resolved() and self._contents == other._contents

    @property
    def num_malicious(self) -> int:
        """How many clients belong to the adversary."""
        return self.adversary.count(self.clients.total) if self.adversary else 0

    @property
    def hash8(self) -> str:
        """Eight hex digits that change with whatever can change a number of the run."""
        return identity.hash8(self, self._contents)

    @property
    def changed_file(self) -> str | None:
        """A file of the user that was read again since, by another process, and had changed."""
        now = identity.contents(self)
        return next((file for file in now if now[file] != self._contents.get(file)), None)

    def resolved(self) -> dict[str, Any]:
        """Plain values in the form of the YAML file, every default visible."""
        return identity.section(self, lambda choice: choice.name)

    def twin(self) -> "Scenario":
        """The same run with nobody attacking; a poison's success is still measured."""
        if self.adversary is None:
            return self.model_copy(update={"clean_twin": False})
        honest = Adversary(clients=0, poison=self.adversary.poison)
        return self.model_copy(update={"adversary": honest, "clean_twin": False})
