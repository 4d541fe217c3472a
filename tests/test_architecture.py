"""The shape of the house: which way imports point, what stays lazy, what no file may hold."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsim.registry import REGISTRIES, plugins

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "fedsim").rglob("*.py"))

LAYERS = [
    {
        *("errors", "strict", "signatures", "user_files", "preconditions", "registry", "types"),
        *("seeding", "tensors", "spawning", "suspects", "channels"),
    },
    {
        *("aggregators", "preaggregators", "postaggregators", "optimizers", "attacks"),
        *("constraints", "poisons", "triggers", "datasets", "partitions", "models", "metrics"),
        *("inspections", "repairs", "filters", "monitors"),
    },
    {"scenario"},
    {"simulation"},
    {"flower"},
    {"results", "reporting", "evaluation"},
    {
        *("progress", "gallery", "run_log", "execution", "jobs", "cells", "preview", "api"),
        *("judging", "trial", "written", "checking", "finished", "ensemble"),
        *("deployment", "library", "privacy", "arguments", "testing", "bench", "export", "cli"),
        "__main__",
    },
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
PLUGINS = 1  # the layer whose packages do not know one another

GLOBAL_SEEDS = {
    *("torch.manual_seed", "torch.random.manual_seed", "torch.seed", "torch.random.seed"),
    *("torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.cuda.seed_all"),
    *("numpy.random.seed", "numpy.random.set_state", "random.seed", "random.setstate"),
}
HEAVY = {"torch", "torchvision", "flwr", "ray", "sklearn", "scipy", "matplotlib"}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part_of(path: Path) -> str:
    """The package or module right below fedsim that `path` belongs to; "" for fedsim itself."""
    first = path.relative_to(ROOT / "fedsim").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, what is imported in full, the new name it gets here if any) of every import."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, alias.asname or ""
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}", alias.asname or alias.name


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def may_import(here: str, there: str) -> bool:
    if there not in LEVEL or here == there:  # a name of fedsim itself, or the same package
        return True
    down = LEVEL.get(here, -1) - LEVEL[there]
    return down > 0 or (down == 0 and LEVEL[there] != PLUGINS)


def test_every_module_has_a_layer():
    assert {part_of(path) for path in FILES} - {""} <= set(LEVEL)


def test_imports_point_down():
    wrong = [
        f"{place(path)}:{line} imports {name}"
        for path in FILES
        for line, name, _ in imports(path)
        if name.startswith("fedsim.") and not may_import(part_of(path), name.split(".")[1])
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_flower_package_imports_flower_and_ray():
    wrong = [
        f"{place(path)}:{line} imports {name}"
        for path in FILES
        for line, name, _ in imports(path)
        if name.split(".")[0] in {"flwr", "ray"} and part_of(path) != "flower"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_named_after_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "misc"}
    names = {place(path): {path.stem.strip("_"), path.parent.name} for path in FILES}
    wrong = [path for path, parts in names.items() if parts & empty]
    assert not wrong, "\n".join(wrong)


def test_files_are_short():
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    wrong = [f"{path} has {length} lines" for path, length in lengths.items() if length > 300]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_undone():
    undone = re.compile("TODO|FIXME|NotImplementedError")
    wrong = [
        f"{place(path)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if undone.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_seeds_a_global_generator():
    wrong = []
    for path in FILES:
        if path == ROOT / "fedsim" / "seeding.py":
            continue
        names = {local: full for _, full, local in imports(path) if local}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                first, _, rest = dotted(node.func).partition(".")
                called = ".".join(filter(None, [names.get(first, first), rest]))
                if called in GLOBAL_SEEDS:
                    wrong.append(f"{place(path)}:{node.lineno} calls {called}")
    assert not wrong, "\n".join(wrong)


def run_python(code: str, **environment: str) -> str:
    """What `code` prints in a fresh interpreter, without this one's telemetry settings."""
    dropped = ("FLWR_TELEMETRY_ENABLED", "RAY_USAGE_STATS_ENABLED")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import fedsim",
        "from fedsim.cli import main\nsys.argv = ['fedsim', '--help']\nmain()",
        "from fedsim.cli import main\nsys.argv = ['fedsim', 'run', '--help']\nmain()",
    ],
)
def test_help_waits_for_nothing_heavy(code):
    report = f"print(sorted({HEAVY!r} & set(sys.modules)))"
    at_the_end = f"import atexit, sys\natexit.register(lambda: {report})"  # --help ends the process
    assert run_python(f"{at_the_end}\n{code}") == "[]"


def test_validate_waits_for_torch_alone():
    code = (
        f"import atexit, sys\natexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules))))\n"
        "from fedsim.cli import main\nmain(['validate', 'scenarios/quickstart.yaml'])"
    )
    assert run_python(code) == "['torch']"


def test_telemetry_is_off_before_flower_or_ray_can_be_imported():
    first = {name.split(".")[0] for _, name, _ in imports(ROOT / "fedsim" / "__init__.py")}
    assert first <= set(sys.stdlib_module_names)
    report = (
        "import os, fedsim.errors\n"
        "print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    )
    assert run_python(report) == "0 0"
    assert run_python(report, FLWR_TELEMETRY_ENABLED="1") == "1 0"


@pytest.fixture(scope="module")
def built_in():
    for part in sorted(LAYERS[PLUGINS]):
        if (ROOT / "fedsim" / part).is_dir():
            __import__(f"fedsim.{part}")
    found = [plugin for kind in REGISTRIES for plugin in plugins(kind)]
    return [p for p in found if p.function.__module__.startswith("fedsim.")]  # tests add theirs


def test_every_plugin_names_its_source(built_in):
    wrong = [p.name for p in built_in if "Paper:" not in (p.function.__doc__ or "")]
    assert not wrong, "\n".join(wrong)


def test_plugin_names_are_unique_across_kinds(built_in):
    names = [plugin.name for plugin in built_in]
    assert sorted({name for name in names if names.count(name) > 1}) == []
