"""`fedsim bench`: how fast this machine trains clients."""

import json

import click


@click.command()
@click.argument("what", type=click.Choice(["train", "all"]), default="all")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON.")
def bench(what: str, as_json: bool) -> None:
    """Measure how fast clients train here."""
    from fedsim.bench import train

    print(json, train, what, as_json)
