"""A scenario before it is checked: plain values, and the place of every key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError
from fedsim.scenario.schema import Scenario
from fedsim.scenario.yaml12 import MAX_DEPTH, MAX_NODES, MAX_TEXT, Where, YamlError, flow, read

MAX_BYTES = 1_000_000
MAX_BITS = 1_000
MAX_MESSAGE = 500


@dataclass(frozen=True)
class Document:
    """The raw tree of a scenario; `places` maps a path in it to the text that begins an error.

    Relative paths in it are relative to `folder`.
    """

    tree: dict[str, Any]
    places: Mapping[Where, str]
    folder: Path = field(default_factory=Path.cwd)

    def where(self, path: Where, missing: bool = False) -> Where:
        """`path` without the parts that are not in the tree, with its last one if `missing`."""
        node: Any = self.tree
        found: list[str | int] = []
        for part in path:
            key = child(node, part)
            if key is None:
                continue
            found.append(key)
            node = node[key]
        return (*found, path[-1]) if missing else tuple(found)

    def place(self, path: Where) -> str:
        """Where `path` stands, or the nearest thing around it that stands somewhere."""
        around = (path[:k] for k in range(len(path), -1, -1))
        return next(self.places[outer] for outer in around if outer in self.places)

    def error(self, path: Where, text: str) -> ScenarioError:
        """The error `text` at `path`, in one line."""
        inside = self.where(path)
        shown = tuple(part for part in path if isinstance(part, str) or part in inside)
        return told(self.place(path), shown, text)


def question_of(source: object) -> str:
    """The question that a scenario answers: the first line of its file, if that is a comment."""
    if not isinstance(source, str | Path):
        return ""
    with Path(source).open(encoding="utf-8", errors="replace") as file:
        first = file.readline().strip()
    return first.lstrip("# ") if first.startswith("#") else ""


def child(node: Any, part: str | int) -> str | int | None:
    """The key or index under which `node` holds `part`, None if it does not."""
    if isinstance(node, list):
        return part if isinstance(part, int) and 0 <= part < len(node) else None
    if isinstance(node, dict):
        return next((key for key in (part, str(part), number(part)) if key in node), None)
    return None


def number(part: str | int) -> str | int:
    """A whole number written as text as the number it is."""
    if isinstance(part, str) and part.isascii() and part.isdigit() and str(int(part[:9])) == part:
        return int(part)
    return part


def told(place: str, path: Where, text: str) -> ScenarioError:
    """The error of one line: `PLACE: where: what is wrong. fix`."""
    where = ".".join(str(part)[:100] for part in path) or "scenario"
    where = repr(where) if where.isspace() else where
    line = f"{where}: {text}".rstrip()
    if len(line) > MAX_MESSAGE:
        line = line[:MAX_MESSAGE] + "..."
    line = f"{place}: {line}"
    return ScenarioError("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def document(source: "Path | str | Mapping[str, Any] | Scenario | Document") -> Document:
    """The raw tree of a YAML file, of a mapping, or of a scenario; ScenarioError if unreadable."""
    if isinstance(source, Document):
        return source
    if isinstance(source, Scenario):
        source = source.resolved()
    if isinstance(source, Mapping):
        return Document(plain(source, "scenario"), {(): "scenario"})
    if not isinstance(source, str | Path):
        raise told("scenario", (), f"must be a path or a mapping; got {type(source).__name__}.")
    file = str(source) or "."
    text = _text(file)
    try:
        tree, marks = read(text)
    except YamlError as error:
        raise told(f"{file}:{error.line}:{error.column}", error.where, error.what) from None
    places = {path: f"{file}:{line}:{column}" for path, (line, column) in marks.items()}
    if tree is None:
        raise told(places[()], (), "is empty. Write name, rounds, model and clients at least.")
    if not isinstance(tree, dict):
        raise told(places[()], (), f"must be a mapping; got {flow(tree)}.")
    return Document(tree, places, Path(file).resolve().parent)


def _text(file: str) -> str:
    path = Path(file)
    try:
        if not path.is_file():
            raise told(file, (), "is not a file." if path.exists() else "there is no such file.")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise told(file, (), f"cannot be read: {error}.") from None
    if len(content) > MAX_BYTES:
        raise told(f"{file}:1:1", (), f"is larger than {MAX_BYTES} bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = f"{before.count(10) + 1}:{error.start - before.rfind(10)}"
        raise told(f"{file}:{place}", (), "is not UTF-8. Save the file as UTF-8.") from None


def plain(value: Any, place: str, where: Where = ()) -> Any:
    """A value given in Python as a YAML file would hold it; ScenarioError if none could."""
    return _copied(value, place, where, count(1))


def _copied(value: Any, place: str, where: Where, nodes: Iterator[int]) -> Any:
    if next(nodes) > MAX_NODES or len(where) > MAX_DEPTH:
        raise told(place, where[:3], "is too large or nested too deeply.")
    match value:
        case Mapping():
            _check_keys(value, place, where)
            return {k: _copied(item, place, (*where, k), nodes) for k, item in value.items()}
        case list() | tuple():
            return [_copied(item, place, (*where, k), nodes) for k, item in enumerate(value)]
        case Path():
            return str(value)
    _check_scalar(value, place, where)
    return value


def _check_keys(value: Mapping[Any, Any], place: str, where: Where) -> None:
    if any(isinstance(key, bool) or not isinstance(key, str | int) for key in value):
        raise told(place, where, "has a key that is neither text nor a whole number.")


def _check_scalar(value: Any, place: str, where: Where) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise told(place, where, f"must be plain values; got {type(value).__name__}.")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise told(place, where, "is too large a number.")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise told(place, where, f"is a text of more than {MAX_TEXT} characters.")
