"""The command line. Commands import what they need when they run, so that help comes at once."""

import click

import fedsim
from fedsim.cli.bench import bench
from fedsim.cli.catalogue import describe, list_, schema
from fedsim.cli.check import preview, validate
from fedsim.cli.compare import compare
from fedsim.cli.ensemble import ensemble
from fedsim.cli.evaluate import evaluate, leaderboard
from fedsim.cli.exits import OneLine
from fedsim.cli.export import export
from fedsim.cli.finished import inspect, repair
from fedsim.cli.new import new
from fedsim.cli.report import report
from fedsim.cli.run import resume, run


@click.group(
    "fedsim",
    cls=OneLine,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 2 wrong input, 3 a run failed, 130 interrupted (resumable).",
)
@click.version_option(fedsim.__version__, prog_name="fedsim", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """How much does this attack hurt a federation defended by this rule, and at what cost?

    Data are looked for in the folder that FEDSIM_DATA names, else in ./data.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    *(run, resume, validate, preview, list_, describe, schema),
    *(inspect, repair, ensemble),
    *(report, compare, evaluate, leaderboard, export, bench, new),
):
    main.add_command(command)
