"""`streamco metrics`: what every process of this home says of itself in numbers."""

import click

from runtime.metrics import collected
from streamco.places import Places
from streamco.settings import read_settings


@click.command()
def metrics() -> None:
    """Print the metrics of all processes in Prometheus' text format, with the label `component`."""
    click.echo(collected(Places(read_settings()).run), nl=False)
