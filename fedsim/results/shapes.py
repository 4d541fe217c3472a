"""What the files of a run folder must hold to be read; more than that may stand in them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from fedsim.errors import InputError, first_line

Share = Annotated[float, Field(ge=0, le=1)] | None
NotNegative = Annotated[float, Field(ge=0)] | None
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Client = Annotated[int, Field(ge=0, lt=2**31)]


class _Shape(BaseModel):
    """Keys of a JSON object: no coercion, no NaN; keys without a default must be there."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class _Flag(_Shape):
    flag: str
    text: str
    rounds: list[Whole] | None


class _Detection(_Shape):
    precision: Share
    recall: Share
    false_positive_rate: Share
    auc: Share


class _Twin(_Shape):
    hash: str
    accuracy: Share
    attack_success_rate: Share
    accuracy_drop: Annotated[float, Field(ge=-1, le=1)] | None


class _Durability(_Shape):
    last_round: Whole
    at: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Share]
    rounds_to_half: Whole | None


class _Measured(_Shape):
    accuracy: Share
    attack_success_rate: Share


class _Verdict(_Shape):
    backdoored: bool
    score: float | None
    threshold: float | None
    target: Whole | None


class _Caught(_Shape):
    triggered: Share
    clean: Share


class _Check(_Shape):
    name: str
    kind: Literal["inspections", "repairs", "filters"]
    before: _Measured
    after: _Measured | None
    verdict: _Verdict | None
    caught: _Caught | None
    seconds: NotNegative


class Summary(_Shape):
    """The object of summary.json."""

    name: str
    hash: str
    seed: int
    engine: str
    device: str
    rounds: Whole
    accuracy: Share
    accuracy_per_class: list[Share] | None
    attack_success_rate: Share
    robust_accuracy: Share
    detection: _Detection | None
    clean_twin: _Twin | None
    durability: _Durability | None
    certified: dict[str, Any] | None
    failures: dict[str, Whole]
    flags: list[_Flag]
    after: list[_Check] = []
    seconds: NotNegative
    parameters_sha256: str


class Round(_Shape):
    """A line of rounds.jsonl."""

    round: Whole
    accuracy: Share
    loss: float | None
    attack_success_rate: Share
    robust_accuracy: Share
    num_clients: Whole
    num_malicious: Whole
    num_failed: Whole
    update_norm: NotNegative
    seconds: dict[str, NotNegative]


class ClientRow(_Shape):
    """A line of clients.jsonl."""

    round: Whole
    client: Client
    malicious: bool
    acting: bool
    num_examples: int | None
    norm: NotNegative
    weight: NotNegative
    loss: float | None
    failed: str | None


Place = Annotated[
    list[Annotated[float, Field(gt=-1e100, lt=1e100)]], Field(min_length=2, max_length=2)
]


class _Standing(_Shape):
    client: Client
    malicious: bool
    acting: bool
    weight: NotNegative
    at: Place


class Updates(_Shape):
    """The object of updates.json: where the updates of a round stood in two dimensions."""

    round: Whole
    explained: Annotated[
        list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2, max_length=2)
    ]
    zero: Place
    aggregate: Place | None
    clients: list[_Standing]


class _Named(_Shape):
    name: str


class _Data(_Shape):
    dataset: _Named | None = None
    partition: _Named | None = None


class _Clients(_Shape):
    total: Whole
    per_round: Whole


class _Server(_Shape):
    preaggregators: list[_Named] = []
    aggregator: _Named | None = None
    postaggregators: list[_Named] = []


class _Schedule(_Shape):
    first: Whole = 1
    last: Whole | None = None
    every: Annotated[int, Field(ge=1, lt=2**31)] = 1
    rounds: list[Whole] | None = None


class _Adversary(_Shape):
    clients: Whole | list[Client] | None = None
    fraction: Share = None
    schedule: _Schedule | None = None
    poison: _Named | None = None
    attack: Annotated[
        list[_Named], BeforeValidator(lambda one: [one] if isinstance(one, dict) else one)
    ] = []


class Scenario(_Shape):
    """Those parts of scenario.yaml that a page about the run shows."""

    name: str
    rounds: Whole | None = None
    data: _Data | None = None
    model: _Named | None = None
    clients: _Clients | None = None
    server: _Server | None = None
    adversary: _Adversary | None = None


class _Cell(_Shape):
    labels: dict[str, str]
    run: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,199}$")]
    status: Literal["finished", "failed", "unfinished"]
    error: str | None = None


class Sweep(_Shape):
    """The object of sweep.json. A cell's run is a folder beside it, never one elsewhere."""

    name: str
    scenario: dict[str, Any]
    cells: list[_Cell]


class Environment(_Shape):
    """The object of environment.json: plain values, or a mapping of them."""

    fedsim: str = ""
    data: dict[str, str] = {}


_ROUNDS, _ROWS = TypeAdapter(list[Round]), TypeAdapter(list[ClientRow])


def check(shape: type[_Shape], value: Mapping[str, Any], place: object) -> None:
    """InputError with the first thing in `value` that is not as `shape` says."""
    try:
        shape.model_validate(value)
    except ValidationError as error:
        raise _damaged(place, first_line(error, value)) from None


def check_lines(shape: type[_Shape], lines: list[dict[str, Any]], place: object) -> None:
    """As `check`, for the objects of a .jsonl file."""
    try:
        (_ROUNDS if shape is Round else _ROWS).validate_python(lines)
    except ValidationError as error:
        line, _, what = first_line(error, lines).partition(".")
        raise _damaged(f"{place}: line {int(line) + 1}", what) from None


def _damaged(place: object, what: str) -> InputError:
    reason = "The file is damaged, or of another version of fedsim."
    return InputError(f"{place}: {what.rstrip('.')}. {reason}")
