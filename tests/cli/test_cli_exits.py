"""Every error is one line on stderr and the exit code of contracts."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.errors import DataError, RunError, ScenarioError

COMMANDS = [
    "run", "resume", "validate", "preview", "list", "describe", "schema", "inspect", "repair",
    "ensemble", "report", "compare", "evaluate", "leaderboard", "export", "bench", "new",
]  # fmt: skip


def test_help_lists_the_commands_of_this_version(cli):
    result = cli("--help")
    listed = [line.split()[0] for line in result.stdout.split("Commands:")[1].splitlines() if line]
    assert result.exit_code == 0
    assert listed[: len(COMMANDS)] == COMMANDS
    assert list(main.commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(cli, command, flag):
    result = cli(command, flag)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: fedsim {command}")
    assert result.stderr == ""


def test_run_takes_the_options_of_the_contract():
    names = {name for option in main.commands["run"].params for name in option.opts}
    assert names == {
        "scenario", "--set", "--seed", "--engine", "--device", "--output", "--resume", "--force",
        "--jobs", "--ray", "--download", "--json", "-q", "--quiet", "-v", "--verbose", "--debug",
    }  # fmt: skip


def test_without_a_command_the_help_is_shown(cli):
    assert cli().exit_code == 0
    assert cli().stdout == cli("--help").stdout


def test_version(cli):
    assert cli("--version").stdout == "fedsim 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnu"], "fedsim: No such command 'rnu'. Did you mean 'run'?"),
        (["run"], "fedsim run: Missing argument 'SCENARIO'."),
        (["run", "a.yaml", "--sed", "1"], "fedsim run: No such option '--sed'."),
        (["run", "a.yaml", "--seed", "x"], "fedsim run: --seed: 'x' is not a valid integer."),
        (["run", "a.yaml", "--seed"], "fedsim run: Option '--seed' requires an argument."),
        (["run", "a.yaml", "--jobs", "0"], "fedsim run: --jobs: 0 is not in the range x>=1."),
        (
            ["run", "a.yaml", "--engine", "rey"],
            "fedsim run: --engine: 'rey' is not one of 'inprocess', 'ray'.",
        ),
        (["run", "a.yaml", "b.yaml"], "fedsim run: Got unexpected extra argument (b.yaml)"),
        (
            ["list", "aggregator"],
            "fedsim list: KIND: unknown kind 'aggregator'. Did you mean 'aggregators'?",
        ),
        (
            ["describe", "patsh"],
            "fedsim describe: NAME: unknown plug-in 'patsh'. Did you mean 'patch'?",
        ),
        (
            ["describe", "zzzzzzzz"],
            "fedsim describe: NAME: unknown plug-in 'zzzzzzzz'. `fedsim list` shows them all.",
        ),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_command(cli, arguments, line):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ScenarioError("a.yaml:9:1: rounds: must be\ngreater than 0; got 0."), 2, None),
        (DataError("a.yaml:4:18: data.dataset: cifar10 is not in /data."), 2, None),
        (RunError("all clients were lost in round 3."), 3, None),
        (
            ValueError("bad\nvalue."),
            3,
            "fedsim run: internal error: ValueError: bad value. "
            "Run again with --debug for the traceback.",
        ),
        (
            RuntimeError(),
            3,
            "fedsim run: internal error: RuntimeError. Run again with --debug for the traceback.",
        ),
    ],
)
def test_an_exception_becomes_its_line_and_code(cli, api, error, code, line):
    def execute(*_, **__):
        raise error

    api.execute = execute
    result = cli("run", "a.yaml")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == (line or str(error).replace("\n", " ")) + "\n"


@pytest.mark.parametrize("error", [ScenarioError("a.yaml:1:1: no."), ValueError("no.")])
def test_debug_shows_the_traceback_and_keeps_the_code(cli, api, error):
    def execute(*_, **__):
        raise error

    api.execute = execute
    result = cli("run", "a.yaml", "--debug")
    assert result.exit_code == (2 if isinstance(error, ScenarioError) else 3)
    assert "Traceback (most recent call last)" in result.stderr
    assert "in execute" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        (["run", "my a.yaml", "--set", "rounds=9", "--force"],
         "fedsim run 'my a.yaml' --set rounds=9 --resume"),
        (["run", "a.yaml", "--resume"], "fedsim run a.yaml --resume"),
    ],
)  # fmt: skip
def test_an_interrupted_run_says_how_to_go_on(cli, api, arguments, way):
    def execute(*_, **__):
        raise KeyboardInterrupt

    api.execute = execute
    result = cli(*arguments)
    assert result.exit_code == 130
    assert result.stderr == f"fedsim run: interrupted. Go on with: {way}\n"


def test_an_interrupted_preview_has_nothing_to_go_on_with(cli, api):
    def preview(*_, **__):
        raise KeyboardInterrupt

    api.preview = preview
    result = cli("preview", "a.yaml")
    assert (result.exit_code, result.stderr) == (130, "fedsim preview: interrupted.\n")


def python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )


def test_help_imports_nothing_heavy():
    heavy = {"torch", "numpy", "flwr", "ray", "pydantic", "rich", "yaml", "sklearn", "matplotlib"}
    code = f"""
import sys
from fedsim.cli import main
try:
    main(["--help"])
except SystemExit:
    print("loaded:", sorted(set(sys.modules) & {heavy!r}))
"""
    assert python(code).stdout.splitlines()[-1] == "loaded: []"


def test_a_reader_that_has_gone_is_no_error():
    read, write = os.pipe()
    os.close(read)
    code = "from fedsim.cli import main; main(['schema', '--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_broken_pipe_elsewhere_is_an_error(api):
    def execute(*_, **__):
        raise BrokenPipeError("worker")

    api.execute = execute
    result = CliRunner().invoke(main, ["run", "a.yaml"])
    assert result.exit_code == 3
    assert "internal error: BrokenPipeError: worker" in result.stderr
