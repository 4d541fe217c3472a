"""`fedsim list`, `describe` and `schema`: what can stand in a scenario."""

import importlib
import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fedsim.cli.docstrings import Docstring, parse

if TYPE_CHECKING:
    from fedsim.registry import Plugin

PLACES = {
    "aggregators": "server: {{aggregator: {}}}",
    "preaggregators": "server: {{preaggregators: [{}]}}",
    "postaggregators": "server: {{postaggregators: [{}]}}",
    "optimizers": "server: {{optimizer: {}}}",
    "attacks": "adversary: {{attack: {}}}",
    "constraints": "adversary: {{training: {{constraints: [{}]}}}}",
    "poisons": "adversary: {{poison: {}}}",
    "triggers": "adversary: {{poison: {{name: backdoor, target: 2, fraction: 0.5, trigger: {}}}}}",
    "datasets": "data: {{dataset: {}}}",
    "partitions": "data: {{partition: {}}}",
    "models": "model: {}",
    "metrics": "",
    "inspections": "after: [{}]",
    "repairs": "after: [{}]",
    "filters": "after: [{}]",
    "monitors": "monitors: [{}]",
}
"""The kinds, and where in a scenario a plug-in of each kind is chosen."""


GIVEN = {
    "data": "root data (server.root_data)",
    "model": "the global network and its clients' clean images, which a run gives it",
}
"""What a plug-in says that it must be given, in words."""

WORDS = {"root": "root data", "root_update": "root data", "predict": "the forward pass"}
"""What a rule may need of the server; where its layers lie is always known."""


@click.command("list")
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option("--markdown", is_flag=True, help="Print Markdown tables.")
def list_(kinds: tuple[str, ...], markdown: bool) -> None:
    """List the plug-ins of all kinds or some, with their papers."""
    from fedsim.errors import suggest

    for kind in kinds:
        if kind not in PLACES:
            raise click.UsageError(f"KIND: unknown kind '{kind}'. {suggest(kind, list(PLACES))}")
    render = _markdown if markdown else _text
    listed = {kind: _plugins(kind) for kind in kinds or PLACES}
    click.echo("\n\n".join(render(kind, found) for kind, found in listed.items() if found))


def paper(doc: Docstring) -> str:
    """Where the plug-in comes from."""
    return doc.headings.get("Paper", "").rstrip(".")


def _plugins(kind: str) -> list["Plugin"]:
    from fedsim.registry import plugins

    importlib.import_module(f"fedsim.{kind}")
    return plugins(kind)


def _text(kind: str, found: list["Plugin"]) -> str:
    """A heading and a line a plug-in: name, what it returns, paper in brackets."""
    width = max(len(plugin.name) for plugin in found)
    docs = [parse(plugin.function) for plugin in found]
    lines = [
        f"  {plugin.name:{width}}  {doc.summary} [{paper(doc)}]"
        for plugin, doc in zip(found, docs, strict=True)
    ]
    return "\n".join([kind, *lines])


def _markdown(kind: str, found: list["Plugin"]) -> str:
    """A table; of rules also what each needs and its cost class."""
    heads, rows = [kind, "what it returns", "paper"], []
    docs = [parse(plugin.function) for plugin in found]
    is_priced = any("Cost" in doc.headings for doc in docs)
    for plugin, doc in zip(found, docs, strict=True):
        rows.append([f"`{plugin.name}`", doc.summary, paper(doc)])
        if is_priced:
            rows[-1] += [needs(plugin), doc.headings.get("Cost", "").rstrip(".")]
    heads += ["needs", "cost"] if is_priced else []
    lines = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    table = [f"| {' | '.join(row)} |" for row in [heads, *lines]]
    return "\n".join([table[0], "|" + "---|" * len(heads), *table[1:]])


def needs(plugin: "Plugin") -> str:
    """What a rule must be given beside the updates, and how many of them."""
    from fedsim.preconditions import requirements

    declared = plugin.facts.get("needs", ())
    words = [needed.text for needed in requirements(plugin.function)]
    words += dict.fromkeys(WORDS[name] for name in declared if name in WORDS)
    return "; ".join([*words, *(["who sent which row"] if plugin.facts.get("per_client") else [])])


@click.command()
@click.argument("name")
def describe(name: str) -> None:
    """Describe a plug-in and its parameters.

    NAME is a name that `fedsim list` shows, or `file.py:function`.
    """
    plugin = _find(name)
    click.echo("\n".join(_description(plugin, name)))


def _find(name: str) -> "Plugin":
    """The plug-in `name` of any kind; a user's function keeps the kind it is registered as."""
    everything = {plugin.name: plugin for kind in PLACES for plugin in _plugins(kind)}
    if ".py:" in name:
        return _find_in_file(name)
    if name not in everything:
        from difflib import get_close_matches

        near = get_close_matches(name, everything, n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'?" if near else "`fedsim list` shows them all."
        raise click.UsageError(f"NAME: unknown plug-in '{name}'. {hint}")
    return everything[name]


def _find_in_file(name: str) -> "Plugin":
    from fedsim.errors import InputError
    from fedsim.registry import REGISTRIES

    found, problem = [], ""
    for kind in PLACES:
        try:
            found.append(REGISTRIES[kind].get(name))
        except ValueError as error:  # also where it is declared to be of another kind
            problem = str(error)
    if not found:
        raise InputError(f"{name}: {problem}")
    plugin = next((plugin for plugin in found if plugin.form != "user"), found[0])
    try:
        _ = plugin.parameters
    except ValueError as error:
        raise InputError(str(error)) from error
    return plugin


def _description(plugin: "Plugin", name: str) -> Iterator[str]:
    from fedsim.cli.parameters import parameters, yaml_line

    doc = parse(plugin.function)
    yield f"{name}: {_form(plugin)}"
    yield from ["", doc.summary, *(["", doc.text] if doc.text else [])]
    yield from [""] if doc.headings or _facts(plugin) else []
    for heading in ("Paper", "Differs", "Cost", "Raises"):
        if heading in doc.headings:
            yield _wrapped(f"{heading}: {doc.headings[heading]}", 2)
    for fact, value in _facts(plugin).items():
        yield f"{fact}: {value}"
    yield from ["", "Parameters:"]
    listed = parameters(plugin)
    for item in listed:
        default = "required" if item.default is None else f"default {item.default}"
        yield f"  {item.name}: {item.kind}; {default}"
        if item.name in doc.arguments:
            yield textwrap.indent(_wrapped(doc.arguments[item.name], 0), "      ")
    if not listed:
        yield "  none"
    if place := _place(plugin):
        yield from ["", "In a scenario:", f"  {place.format(yaml_line(plugin, name))}"]


def _place(plugin: "Plugin") -> str:
    """Where in a scenario the plug-in is chosen, with the knowledge that an attack needs."""
    place = "{}" if plugin.form == "user" else PLACES[plugin.kind]
    knowledge = plugin.facts.get("knowledge")
    return place.replace("{{", f"{{{{knowledge: {knowledge}, ", 1) if knowledge else place


def _form(plugin: "Plugin") -> str:
    """The kind in the singular, and how a function of it is called."""
    if plugin.form == "user":
        return "a function that is not registered, so it may be of any kind"
    forms = {
        "statistic": "a statistic, (updates (n, d)) → update (d,)",
        "weighting": "a weighting, (updates (n, d)) → weights (n,)",
        "stateful": "stateful, (updates (n, d), view) → (update, weights, state)",
    }
    package = importlib.import_module(f"fedsim.{plugin.kind}").__doc__ or ""
    signature = package.strip().partition("\n")[0].partition(": ")[2].rstrip(".")
    signature = signature or f"({', '.join(plugin.takes)})"
    return f"one of the {plugin.kind}; {forms.get(plugin.form, signature)}"


def _facts(plugin: "Plugin") -> dict[str, str]:
    """What the plug-in declares about itself, as far as it is a plain value."""
    if plugin.kind in {"aggregators", "preaggregators"}:
        return {"Needs": needs(plugin)} if needs(plugin) else {}
    plain = {k: v for k, v in plugin.facts.items() if isinstance(v, str | int | tuple)}
    for fact, words in GIVEN.items():
        if plain.pop(fact, False) is True:
            plain["needs"] = words
    if plugin.kind == "attacks":
        plain = {"knowledge": "own", **plain}
    listed = {k: v if isinstance(v, tuple) else (v,) for k, v in plain.items()}
    told = {key: ", ".join(map(str, values)) for key, values in listed.items()}
    return {key.replace("_", " ").capitalize(): value for key, value in told.items() if value}


def _wrapped(text: str, indent: int) -> str:
    return textwrap.fill(text, 100, subsequent_indent=" " * indent, break_long_words=False)


@click.command()
def schema() -> None:
    """Print the JSON schema of a scenario, for editors."""
    from fedsim.scenario import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
