"""A scenario made concrete: its data on a device, who holds what, and what is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fedsim.errors import DataError, UnplacedError
from fedsim.registry import Choice
from fedsim.scenario import Cell, Scenario
from fedsim.seeding import generator, seeded
from fedsim.simulation.network import check_trigger, network_of, poison_arguments
from fedsim.simulation.roles import pool
from fedsim.tensors import flatten_buffers, flatten_params, torch_threads
from fedsim.types import Dataset, DataSource, PoisonView, Probe, Selection, Split

POISON: tuple[str | int, ...] = ("adversary", "poison")


@dataclass(frozen=True)
class Federation:
    """All that stays the same over the rounds of a run.

    `clients[i]` are client i's indices into `data.train`; images held out for the probe and root
    data belong to nobody. `chosen` is what a poison's `select` gave the adversary, `held_out` what
    it kept out of everybody's training.
    """

    scenario: Scenario
    data: Dataset
    clients: tuple[Tensor, ...]
    chosen: Split | None
    probe: Probe | None
    root: Split | None
    device: torch.device
    held_out: Split | None = None

    def build_model(self) -> nn.Module:
        """A freshly initialised network on the device; the same for the same seed."""
        return build_model(self.scenario, self.data).to(self.device)

    def probe_with(self, pattern: Tensor | None) -> Probe | None:
        """The probe, stamped with the current pattern of a learned trigger."""
        if pattern is None:
            return self.probe
        probe = build_probe(self.scenario, self.data, self.held_out, pattern)
        return probe and _probe_to(probe, self.device)

    def to(self, device: torch.device) -> "Federation":
        """The same federation with the training data on `device`."""
        data = replace(self.data, train=self.data.train.to(device), test=self.data.test.to(device))
        return replace(
            self,
            data=data,
            chosen=self.chosen and self.chosen.to(device),
            probe=self.probe and _probe_to(self.probe, device),
            root=self.root and self.root.to(device),
            device=device,
            held_out=self.held_out and self.held_out.to(device),
        )


def _probe_to(probe: Probe, device: torch.device) -> Probe:
    truth = None if probe.truth is None else probe.truth.to(device)
    return Probe(probe.images.to(device), probe.expected.to(device), truth)


def prepare(scenario: Scenario, source: DataSource) -> Federation:
    """Load the data, split it, let the poison choose, and check all of it against the scenario.

    Raises: UnplacedError where the data and the scenario do not fit.
    """
    data = load_data(scenario, source)
    root_ids, rest = split_root(scenario, data.train.labels)
    clients = split_clients(scenario, data.train.labels, rest)
    selection = select(scenario, data.train, clients)
    chosen = None
    if selection is not None:
        away = [selection.held_out, *([selection.train] if selection.exclusive else [])]
        kept_out = torch.isin(torch.arange(len(data.train)), torch.cat(away))
        clients = tuple(indices[~kept_out[indices]] for indices in clients)
        chosen = data.train.take(selection.train)
    held_out = data.train.take(selection.held_out) if selection else None
    federation = Federation(
        scenario=scenario,
        data=data,
        clients=clients,
        chosen=chosen,
        probe=build_probe(scenario, data, held_out),
        root=data.train.take(root_ids) if root_ids is not None else None,
        device=torch.device("cpu"),
        held_out=held_out,
    )
    _try_out(federation)
    return federation.to(pick_device(scenario))


def prepare_cell(cell: Cell, source: DataSource) -> Federation:
    """The federation of `cell`; what does not fit the data is told at its place in the file."""
    try:
        return prepare(cell.scenario, source)
    except UnplacedError as problem:
        raise cell.error(problem.where, problem.text) from problem


def pick_device(scenario: Scenario) -> torch.device:
    """The device of `engine.device`; `auto` takes CUDA where there is one."""
    wanted = scenario.engine.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UnplacedError(("engine", "device"), "no CUDA device is available. Use auto or cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def load_data(scenario: Scenario, source: DataSource) -> Dataset:
    """The data set of the scenario on the CPU."""
    where = ("data", "dataset")
    try:
        data: object = scenario.data.dataset.build()(source)
    except (DataError, ValueError) as error:
        raise UnplacedError(where, str(error)) from error
    if not isinstance(data, Dataset):
        text = "must return fedsim.types.Dataset(train: Split, test: Split, num_classes)"
        raise UnplacedError(where, f"{text}; got {type(data).__name__}")
    return data


def split_root(scenario: Scenario, labels: Tensor) -> tuple[Tensor | None, Tensor]:
    """Indices of the server's root data (or None) and of what is left for the clients."""
    wanted, total = scenario.server.root_data, len(labels)
    everything = torch.arange(total)
    if wanted is None:
        return None, everything
    count = wanted if isinstance(wanted, int) else int(wanted * total + 0.5)
    if not 0 < count <= total - scenario.clients.total:
        text = (
            f"takes {count} of {total} training images; at least one and at most "
            f"{total - scenario.clients.total} can be spared with {scenario.clients.total} clients"
        )
        raise UnplacedError(("server", "root_data"), text)
    order = torch.randperm(total, generator=generator(scenario.seed, "root"))
    return order[:count].sort().values, order[count:].sort().values


def split_clients(scenario: Scenario, labels: Tensor, available: Tensor) -> tuple[Tensor, ...]:
    """The available training indices divided among the clients by the scenario's partition."""
    divide = scenario.data.partition.build()
    try:
        parts: Sequence[Tensor] = divide(
            labels[available], scenario.clients.total, generator(scenario.seed, "partition")
        )
    except ValueError as error:
        raise UnplacedError(("data", "partition"), str(error)) from error
    return tuple(available[part] for part in parts)


def select(scenario: Scenario, data: Split, clients: Sequence[Tensor]) -> Selection | None:
    """What a choosing poison (target clients, semantic, edge case) sets aside, else None."""
    poison = scenario.adversary and scenario.adversary.poison
    if not poison or poison.plugin.facts.get("select") is None:
        return None
    choose = poison.plugin.facts["select"]
    try:
        chosen: Selection = choose(
            data, clients, generator(scenario.seed, "select"), **poison.arguments
        )
    except ValueError as error:
        raise UnplacedError(POISON, str(error)) from error
    return chosen


def build_probe(
    scenario: Scenario, data: Dataset, held_out: Split | None, pattern: Tensor | None = None
) -> Probe | None:
    """The images on which attack success is measured (contracts: attack success), or None."""
    poison = scenario.adversary and scenario.adversary.poison
    if not poison or poison.plugin.facts.get("probe") is None:
        return None
    view = PoisonView(data.num_classes, generator(scenario.seed, "probe"), chosen=held_out)
    test = data.test.take(torch.arange(len(data.test)))
    try:
        probe: Probe | None = poison.plugin.facts["probe"](
            test.images, test.labels, view, **poison_arguments(poison, pattern)
        )
    except ValueError as error:
        raise UnplacedError(POISON, str(error)) from error
    if probe is not None and len(probe.images) == 0:
        raise UnplacedError(POISON, "leaves no test image to measure attack success on")
    return probe


def build_model(scenario: Scenario, data: Dataset) -> nn.Module:
    """The scenario's network, initialised from its seed or from `model.weights`."""
    network = scenario.model.network
    with seeded(scenario.seed, "model"):
        try:
            model: nn.Module = network.build()(data.shape, data.num_classes)
        except ValueError as error:
            raise UnplacedError(("model",), str(error)) from error
    if scenario.model.weights is not None:
        _load_weights(model, Path(scenario.model.weights))
    if scenario.model.normalize:
        images = data.train.take(torch.arange(len(data.train))).images
        with torch_threads(1):  # as clients have one, whoever builds their model
            return Normalized(model, images.mean((0, 2, 3)), images.std((0, 2, 3)))
    return model


class Normalized(nn.Module):
    """A network that normalises its input by the training split's mean and deviation per channel.

    The constants are not part of the state dict, so they are neither trained nor aggregated.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", std.clamp(min=1e-6).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, k) of images (b, c, h, w) in [0, 1]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def _load_weights(model: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        model.load_state_dict(_bare(load_file(path), model))
    except (OSError, SafetensorError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        raise UnplacedError(("model", "weights"), f"{path} does not fit: {text}") from error


def _bare(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights of a run by the names of its network, also where that stands in `Normalized`."""
    within = {name.removeprefix("network."): tensor for name, tensor in tensors.items()}
    return within if within.keys() == model.state_dict().keys() else tensors


def _try_out(federation: Federation) -> None:
    """Refuse at load what would only fail in a later round: models, poisons, empty clients."""
    scenario = federation.scenario
    for client, indices in enumerate(federation.clients):
        if len(indices) == 0:
            raise UnplacedError(("data", "partition"), f"leaves client {client} without data")
    model = federation.build_model()
    with torch.no_grad():
        logits = model(federation.data.train.take(torch.tensor([0, 1])).images)
    expected = (2, federation.data.num_classes)
    if logits.shape != expected:
        text = f"returns {tuple(logits.shape)} for two images; must be {expected}"
        raise UnplacedError(("model",), text)
    poison = scenario.adversary and scenario.adversary.poison
    if poison:
        _try_poison(federation, poison)


def _try_poison(federation: Federation, poison: Choice) -> None:
    scenario, data = federation.scenario, federation.data
    members = pool(scenario, 1)
    sample = data.train.take(federation.clients[members[0] if members else 0][:64])
    model = federation.build_model()
    network = network_of(model, flatten_params(model), flatten_buffers(model))
    view = PoisonView(
        data.num_classes,
        generator(scenario.seed, "try"),
        attacker=0,
        chosen=federation.chosen,
        network=network,
    )
    try:
        check_trigger(poison, network, (sample.images, sample.labels), data.num_classes)
        images, labels = poison.build()(sample.images, sample.labels, view)
    except ValueError as error:
        raise UnplacedError(POISON, str(error)) from error
    if images.shape[1:] != sample.images.shape[1:] or len(images) != len(labels):
        raise UnplacedError(POISON, "returns images or labels of another shape")
