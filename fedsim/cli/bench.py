"""`fedsim bench`: how fast this machine trains clients."""

import json

import click

from fedsim.cli.tables import print_table


@click.command()
@click.argument("what", type=click.Choice(["train", "all"]), default="all")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON, no table.")
def bench(what: str, as_json: bool) -> None:
    """Measure how fast clients train here, against plain PyTorch."""
    from fedsim.bench import train

    measured = train.measure()
    if as_json:
        click.echo(json.dumps(measured if what == "train" else {"train": measured}, indent=2))
    else:
        print_table(train.table(measured))
