"""The registries: names that do not exist, names taken twice, plug-ins from files, citations."""

import importlib
import pickle
import pkgutil
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

import fedsim
from fedsim.aggregators import aggregators
from fedsim.registry import REGISTRIES, Choice, Plugin, Registry, plugins

for package in pkgutil.iter_modules(fedsim.__path__):
    if package.ispkg and (Path(fedsim.__path__[0]) / package.name / "__init__.py").is_file():
        importlib.import_module(f"fedsim.{package.name}")

KINDS = sorted(REGISTRIES)
NO_EXAMPLE = {"datasets", "inspections", "repairs", "filters"}  # need files, or a trained model
BUILT_IN = [plugin for kind in KINDS for plugin in plugins(kind)]


@pytest.fixture
def registry():
    """A registry of its own, which has one plug-in and finds no built-in ones."""
    made = Registry("tests")
    made._loaded = True
    del REGISTRIES["tests"]

    @made.register
    def shorten(rows, *, by: Annotated[float, Field(gt=0)] = 0.5, twice: bool = False):
        return rows * by * (by if twice else 1)

    return made


def test_the_kinds_of_the_house():
    assert set(KINDS) >= {
        *("aggregators", "preaggregators", "postaggregators", "optimizers", "attacks"),
        *("constraints", "poisons", "triggers", "datasets", "partitions", "models", "metrics"),
        *("inspections", "repairs", "filters", "monitors"),
    }


# Names


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_told_with_the_nearest(kind):
    name = REGISTRIES[kind].names()[0]
    with pytest.raises(ValueError, match=rf"^unknown \w+ '{name}x'\. Did you mean '{name}'\?$"):
        REGISTRIES[kind].get(f"{name}x")


def test_a_name_like_no_other_is_told_with_all(registry):
    with pytest.raises(ValueError, match=r"^unknown test 'qqqq'\. Known: shorten\.$"):
        registry.get("qqqq")


def test_a_second_one_of_a_name_is_refused(registry):
    def shorten(rows):
        return rows

    with pytest.raises(ValueError, match=r"^tests: 'shorten' is registered twice$"):
        registry.register(shorten)


def test_names_are_unique_across_kinds():
    names = [plugin.name for plugin in BUILT_IN]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_sorted_and_in_snake_case(kind):
    names = REGISTRIES[kind].names()
    assert names == sorted(names)
    assert all(name.isidentifier() and name == name.lower() for name in names)


# Parameters


def test_build_binds_checked_parameters(registry):
    built = registry.build("shorten", by=3.0)
    assert built(2) == 6.0
    assert built.keywords == {"by": 3.0, "twice": False}


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"by": 0.0}, "shorten: by: must be greater than 0; got 0.0."),
        ({"by": "1"}, "shorten: by: must be a valid number; got '1'."),
        ({"twice": 1}, "shorten: twice: must be a valid boolean; got 1."),
        ({"bye": 1.0}, "shorten: bye: unknown parameter of 'shorten'. Did you mean 'by'?"),
    ],
)
def test_bad_parameters_are_told_in_one_line(registry, bad, told):
    with pytest.raises(ValueError, match="shorten: ") as caught:
        registry.build("shorten", **bad)
    assert str(caught.value) == told


def test_a_choice_can_be_written_down_and_read_again(registry):
    config = registry.choose("shorten", twice=True).config()
    assert config == {"name": "shorten", "by": 0.5, "twice": True}
    assert registry.choose(**config).config() == config


def test_a_plain_function_is_a_plugin_of_the_user(registry):
    def mine(rows, *, power: int = 2):
        return rows**power

    assert registry.build(mine, power=3)(2) == 8
    assert registry.resolve(mine).form == "user"


def test_a_registered_function_is_found_by_itself():
    from fedsim.aggregators.mean import mean

    assert aggregators.resolve(mean) is aggregators.get("mean")


@pytest.mark.parametrize("plugin", BUILT_IN, ids=lambda p: f"{p.kind}-{p.name}")
def test_built_in_ones_are_their_functions_and_travel_light(plugin: Plugin):
    module = importlib.import_module(plugin.function.__module__)
    assert module.__name__ == f"fedsim.{plugin.kind}.{plugin.name}"
    assert getattr(module, plugin.name) is plugin.function
    assert len(pickle.dumps(plugin.function)) < 150


@pytest.mark.parametrize("plugin", BUILT_IN, ids=lambda p: f"{p.kind}-{p.name}")
def test_every_built_in_parameter_has_a_type(plugin: Plugin):
    fields = plugin.parameters.model_fields
    assert [name for name, field in fields.items() if field.annotation is None] == []
    assert plugin.parameters.model_json_schema()["type"] == "object"


@pytest.mark.parametrize("plugin", BUILT_IN, ids=lambda p: f"{p.kind}-{p.name}")
def test_every_built_in_cites_its_paper(plugin: Plugin):
    text = plugin.function.__doc__ or ""
    assert "Paper: " in text
    assert text.splitlines()[0].endswith(".")
    assert ">>> " in text or plugin.kind in NO_EXAMPLE


def test_every_plugin_file_registers_one():
    root = Path(fedsim.__path__[0])
    public = {(kind, path.stem) for kind in KINDS for path in (root / kind).glob("[!_]*.py")}
    assert public == {(plugin.kind, plugin.name) for plugin in BUILT_IN}


# Files

SOURCE = '''
from fedsim.aggregators import aggregators

def plain(updates, *, keep: int = 1):
    """The sum of the first rows."""
    return updates[:keep].sum(dim=0)

@aggregators.weighting
def decorated_in_a_file(updates):
    """Equal weights."""
    return updates.new_full((len(updates),), 1 / len(updates))

number = 3
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rules.py"
    path.write_text(f"{SOURCE}# {tmp_path}\n", encoding="utf-8")  # a file's text is its identity
    yield path
    aggregators._plugins.pop("decorated_in_a_file", None)


def test_a_function_of_a_file_relative_to_a_folder(file):
    plugin = aggregators.get("rules.py:plain", file.parent)
    assert plugin.name == f"{file}:plain"
    assert plugin.form == "user"
    assert plugin.facts["file"] == file
    assert plugin.choose({"keep": 2}).config() == {"name": f"{file}:plain", "keep": 2}


def test_a_function_of_a_file_relative_to_the_working_directory(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert isinstance(aggregators.choose("rules.py:plain", keep=3), Choice)


def test_a_file_is_run_once_and_keeps_the_form_it_declares(file):
    first = aggregators.get(f"{file}:decorated_in_a_file")
    again = aggregators.get(f"{file}:decorated_in_a_file")
    assert first.form == again.form == "weighting"
    assert first.function is again.function


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent.py:plain", "absent.py is not a file"),
        ("rules.py:missing", "rules.py has no function 'missing'"),
        ("rules.py:number", "rules.py has no function 'number'"),
        ("broken.py:plain", "broken.py cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_without_the_function_is_told(file, name, told):
    (file.parent / "broken.py").write_text("1 / 0", encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        aggregators.get(name, file.parent)
