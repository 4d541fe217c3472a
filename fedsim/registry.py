"""Plug-ins: plain functions found by name, whose keyword-only arguments are their parameters."""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import Field, PydanticUserError, ValidationError, create_model
from pydantic_core import PydanticCustomError, core_schema

from fedsim.errors import first_line, suggest
from fedsim.signatures import check_signature
from fedsim.strict import Strict
from fedsim.user_files import USER_MODULE, load_module

Function = TypeVar("Function", bound=Callable[..., Any])

REGISTRIES: dict[str, "Registry"] = {}


@dataclass(frozen=True)
class Plugin:
    """A registered function: `form` says how it is called, `facts` what else it declares."""

    kind: str
    name: str
    function: Callable[..., Any]
    form: str = "plain"
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> type[Strict]:
        """A model of the keyword-only arguments: types, ranges, defaults.

        Raises: ValueError where an annotation of a user's function cannot be understood.
        """
        try:
            return self._model()
        except (NameError, TypeError, SyntaxError, PydanticUserError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{self.name}: its parameters cannot be read: {reason}") from None

    def _model(self) -> type[Strict]:
        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {
            p.name: (hints.get(p.name, Any), _default(p.default))
            for p in inspect.signature(self.function).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        odd = [name for name in fields if name == "name" or name.startswith("_")]
        if odd:
            raise ValueError(f"{self.name}: a parameter cannot be called '{odd[0]}'")
        model: type[Strict] = create_model(self.function.__name__, __base__=Strict, **fields)
        model.what = f"parameter of '{self.name}'"
        return model

    def choose(self, parameters: Mapping[str, Any], context: Any = None) -> "Choice":
        """This plug-in with `parameters` checked and defaults filled in; ValidationError if bad."""
        model = self.parameters.model_validate(dict(parameters), context=context)
        return Choice(self, {name: getattr(model, name) for name in type(model).model_fields})

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the positional arguments."""
        signature = inspect.signature(self.function)
        return tuple(n for n, p in signature.parameters.items() if p.kind is not p.KEYWORD_ONLY)


@dataclass(frozen=True)
class Choice:
    """A plug-in and its checked parameters, as chosen in a scenario."""

    plugin: Plugin
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the plug-in."""
        return self.plugin.name

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The parameters with nested choices built."""
        return {name: _built(value) for name, value in self.parameters.items()}

    def build(self) -> "partial[Any]":
        """The function with its parameters bound; positional arguments are left open."""
        return partial(self.plugin.function, **self.arguments)

    def config(self) -> dict[str, Any]:
        """The choice as it stands in a resolved scenario: `{name: …, parameters}`."""
        return {"name": self.name, **{k: _plain(v) for k, v in self.parameters.items()}}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as kind and config, so that a worker finds the plug-in by name or file."""
        return _rebuilt, (self.plugin.kind, self.config())

    def walk(self) -> Iterator["Choice"]:
        """This choice and all choices nested in its parameters."""
        yield self
        for value in self.parameters.values():
            if isinstance(value, Choice):
                yield from value.walk()


class Registry:
    """The plug-ins of one kind. Built-in ones are the public modules of the kind's package."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._plugins: dict[str, Plugin] = {}
        self._declared: dict[Callable[..., Any], Plugin] = {}
        self._loaded = False
        REGISTRIES[kind] = self

    def add(self, function: Callable[..., Any], form: str = "plain", **facts: Any) -> None:
        """Register `function` under its own name; a second one of that name is refused."""
        name = function.__name__
        if function.__module__.startswith(USER_MODULE):
            self._load()  # else what is built in would come second
        known = self._plugins.get(name)
        # A user's file that was edited and read again replaces what it registered before.
        if known and not known.function.__module__.startswith(USER_MODULE):
            raise ValueError(f"{self.kind}: '{name}' is registered twice")
        self._plugins[name] = Plugin(self.kind, name, function, form, facts)
        self._declared[function] = self._plugins[name]

    def register(self, function: Function) -> Function:
        """Decorator: register `function` under its own name and return it untouched."""
        self.add(function)
        return function

    def names(self) -> list[str]:
        """The names of all plug-ins of this kind, sorted."""
        self._load()
        return sorted(self._plugins)

    def get(self, name: str, folder: Path | None = None) -> Plugin:
        """The plug-in `name`; `file.py:function` is relative to `folder`. ValueError if none."""
        if ".py:" in name:
            return _from_file(self.kind, name, folder or Path.cwd())
        self._load()
        if name not in self._plugins:
            known = suggest(name, self.names())
            raise ValueError(f"unknown {_singular(self.kind)} '{name}'. {known}".rstrip())
        return self._plugins[name]

    def resolve(self, name: "str | Callable[..., Any]") -> Plugin:
        """The plug-in for a name, or one made of a plain function."""
        if isinstance(name, str):
            return self.get(name)
        return self.declared(name) or Plugin(self.kind, name.__name__, name, form="user")

    def declared(self, function: Callable[..., Any]) -> Plugin | None:
        """What a decorator said of `function`, if one did; names may repeat in users' files."""
        return self._declared.get(function)

    def build(self, name: "str | Callable[..., Any]", **parameters: Any) -> "partial[Any]":
        """`name` with its parameters checked and bound; one-line ValueError if they are wrong."""
        return self.choose(name, **parameters).build()

    def choose(self, name: "str | Callable[..., Any]", **parameters: Any) -> Choice:
        """As `build`, but not yet bound: the choice itself."""
        plugin = self.resolve(name)
        try:
            return plugin.choose(parameters)
        except ValidationError as error:
            raise ValueError(f"{plugin.name}: {first_line(error, parameters)}") from None

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(f"fedsim.{self.kind}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
        for entry in _installed():
            entry.load()


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """The plug-ins of other packages; to find them, the metadata of all packages are read."""
    return tuple(entry_points(group="fedsim.plugins"))


class OneOf:
    """Annotation of a parameter that is itself a plug-in of `kind`: `{name: …, parameters}`.

    A value that is callable already is taken as it is (library use).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate to a `Choice` (or leave a callable alone)."""
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """One alternative per plug-in, told apart by `name`; a file plug-in is one more."""
        alternatives = [_json_schema(plugin) for plugin in self.plugins()]
        own = {"type": "string", "pattern": r"\.py:\w+$"}
        by_file = {"type": "object", "properties": {"name": own}, "required": ["name"]}
        return {"anyOf": [*alternatives, by_file]}

    def plugins(self) -> "list[Plugin]":
        """What can be chosen, without the files of the user."""
        return plugins(self.kind)

    def find(self, name: str, folder: Path | None) -> Plugin:
        """The plug-in of that name; ValueError if there is none."""
        return registry(self.kind).get(name, folder)

    def _validate(self, value: object, info: Any) -> object:
        if isinstance(value, Choice) or callable(value):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise PydanticCustomError("plugin", "must be a mapping with a name and the parameters")
        folder = (info.context or {}).get("folder")
        try:
            plugin = self.find(value["name"], folder)
            _ = plugin.parameters
            check_signature(plugin.kind, plugin.name, plugin.function)
        except ValueError as error:
            raise PydanticCustomError("plugin", "{error}", {"error": str(error)}) from None
        given = {name: item for name, item in value.items() if name != "name"}
        return plugin.choose(given, info.context)


def plugins(kind: str) -> list[Plugin]:
    """All plug-ins of `kind`, sorted by name."""
    return [registry(kind).get(name) for name in registry(kind).names()]


def registry(kind: str) -> Registry:
    """The registry of `kind`, whose package need not have been imported yet."""
    importlib.import_module(f"fedsim.{kind}")
    return REGISTRIES[kind]


def _default(value: object) -> Any:
    return ... if value is inspect.Parameter.empty else Field(value, validate_default=True)


def _rebuilt(kind: str, config: dict[str, Any]) -> Choice:
    parameters = {name: value for name, value in config.items() if name != "name"}
    return registry(kind).get(config["name"]).choose(parameters)


def _built(value: object) -> object:
    if isinstance(value, Choice):
        return value.build()
    return [_built(item) for item in value] if isinstance(value, list) else value


def _plain(value: object) -> object:
    if isinstance(value, Choice):
        return value.config()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _singular(kind: str) -> str:
    return kind.removesuffix("s")


def _json_schema(plugin: Plugin) -> dict[str, Any]:
    schema = plugin.parameters.model_json_schema()
    properties = {"name": {"const": plugin.name}, **schema.get("properties", {})}
    required = ["name", *schema.get("required", [])]
    return {**schema, "title": plugin.name, "properties": properties, "required": required}


def _from_file(kind: str, name: str, folder: Path) -> Plugin:
    """The function of a user's file, as a plug-in whose name carries the absolute path."""
    file, _, function_name = name.rpartition(":")
    if not os.path.isfile(folder / file):  # nor a loop of links, nor a name that no file can have
        raise ValueError(f"{os.path.abspath(folder / file)} is not a file")
    path = (folder / file).resolve()
    module = load_module(path)
    function = vars(module).get(function_name)
    if not inspect.isfunction(function):
        raise ValueError(f"{path} has no function '{function_name}'")
    others = [other for other in REGISTRIES.values() if other.declared(function)]
    if others and registry(kind) not in others:
        raise ValueError(f"{path}: '{function_name}' is declared as one of the {others[0].kind}")
    known = registry(kind).declared(function)
    form, facts = (known.form, known.facts) if known else ("user", {})
    own = {"file": path, "sha256": vars(module)["__sha256__"]}
    return Plugin(kind, f"{path}:{function_name}", function, form, {**facts, **own})
