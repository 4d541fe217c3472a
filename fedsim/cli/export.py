"""`fedsim export`: a run in the tracker that one uses anyway."""

from pathlib import Path

import click

TRACKERS = ("tensorboard", "mlflow", "wandb")


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--to", "tracker", required=True, type=click.Choice(TRACKERS), help="The tracker.")
@click.option("--follow", is_flag=True, help="Go on with every new round until the run has ended.")
def export(run: Path, tracker: str, follow: bool) -> None:
    """Replay a run, finished or not, into a tracker's files beside it. Nothing is sent anywhere.

    With --follow, start it in another terminal while the run goes on.
    """
    from fedsim import export as trackers
    from fedsim.errors import InputError

    told = trackers.told(run, follow=follow)
    try:
        path, command = trackers.TRACKERS[tracker](told)
    except ImportError as error:
        way = f"Install it with: pip install 'fedsim[{tracker}]'"
        raise click.UsageError(f"--to: {tracker} cannot be imported: {error}. {way}") from error
    except OSError as error:
        text = f"cannot be written: {error.strerror or error}."
        raise InputError(f"{error.filename or told.home}: {text}") from error
    click.echo(path, err=True)
    click.echo(f"Go on with: {command}")
