"""The `impasto` command: hand in jobs, follow them, collect pictures; or paint here without a service."""

from itertools import islice
from pathlib import Path
from typing import Any

import click

from client.api import Impasto
from client.batch_command import batch
from client.console import job_lines, print_json, say, service
from client.doctor import doctor
from client.errors import JobFailed
from client.formats import format_in, format_of
from client.models import TERMINAL, Job
from client.options import format_for, given_init, given_spec, spec_options, style_options
from client.parameters import combined, output_file, pair
from client.progress import ProgressBar
from client.stylize import stylize
from client.weights import weights

output_option = click.option(
    "-o",
    "--output",
    type=output_file,
    metavar="FILE",
    help="File for the picture; the job's ID and format by default.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="impasto")
def main() -> None:
    """Impasto paints one picture in the style of others.

    The service's address and token are read from IMPASTO_URL and IMPASTO_TOKEN.

    Exit codes: 0 done; 1 the job has no picture, or this machine failed; 2 the request is wrong;
    3 the service cannot be reached or is failing.
    """


main.add_command(batch)
main.add_command(doctor)
main.add_command(stylize)
main.add_command(weights)


@main.command()
@click.argument("content")
@click.argument("styles", nargs=-1, required=True, metavar="STYLE...")
@style_options
@spec_options
@click.option(
    "--metadata", type=pair, metavar="NAME=VALUE", multiple=True, help="Kept with the job; may be repeated."
)
@click.option("--priority", type=click.IntRange(0, 9), help="9 first, 0 last, among your own jobs.")
@click.option("--deadline", type=click.FloatRange(0, min_open=True), help="Seconds until it is not wanted.")
@click.option("--id", "job_id", help="Your own ID for the job.")
@click.option("--wait", is_flag=True, help="Wait for the picture, showing progress, and download it.")
@output_option
@service()
def submit(
    client: Impasto,
    content: str,
    styles: tuple[str, ...],
    *,
    mix: tuple[float, ...] | None,
    masks: tuple[str, ...],
    regions: tuple[str, ...],
    metadata: tuple[tuple[str, str], ...],
    priority: int | None,
    deadline: float | None,
    job_id: str | None,
    wait: bool,
    output: Path | None,
    as_json: bool,
    **spec: Any,  # noqa: ANN401 - the spec's options
) -> None:
    """Hand in a job: repaint CONTENT in the style of each STYLE.

    A picture is an http(s) address, a file (uploaded first) or upload:ID. Prints the job's ID; with
    --wait or -o, waits and downloads the picture, in the format that the file's name says.
    """
    given = combined(styles, mix, masks, regions)
    spec["output_format"] = format_for(output, spec["output_format"])
    job = client.submit(
        content,
        given if mix or masks or regions else styles,
        init=given_init(spec),
        spec=given_spec(spec) or None,
        metadata=dict(metadata) or None,
        priority=priority,
        deadline_seconds=deadline,
        id=job_id,
    )
    if not (wait or output):
        print_json(job.raw) if as_json else print(job.id)
        return
    say(f"job {job.id}")
    try:
        with ProgressBar() as progress:
            job = client.wait(job.id, on_progress=progress.job)
    except KeyboardInterrupt:
        say(f"The job goes on; `impasto get {job.id}` collects it, `impasto cancel {job.id}` ends it.")
        raise
    except JobFailed as failed:
        if as_json:
            print_json(failed.job.raw)
        raise
    _collect(client, job, output, as_json=as_json)


@main.command()
@click.argument("job_id", metavar="ID")
@service()
def status(client: Impasto, job_id: str, *, as_json: bool) -> None:
    """Show a job as it is now."""
    _show(client.get(job_id), as_json=as_json)


@main.command("list")
@click.option("--status", type=click.Choice(["queued", "processing", *sorted(TERMINAL)]), help="Only these.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Jobs to show at most.")
@service()
def list_(client: Impasto, *, status: str | None, limit: int, as_json: bool) -> None:
    """List your jobs, newest first; with --json one job a line."""
    for job in islice(client.jobs(status=status, page_size=min(limit, 1000)), limit):
        if as_json:
            print_json(job.raw)
            continue
        created = f"{job.created_at:%Y-%m-%d %H:%M:%S}" if job.created_at else ""
        done = f"{job.progress.step}/{job.progress.steps}" if job.progress and not job.ended else ""
        reason = job.error.code if job.error else ""
        print(f"{job.id:<30}  {job.status:<10}  {created}  {job.stage or '':<8}  {done}{reason}".rstrip())


@main.command()
@click.argument("job_id", metavar="ID")
@service()
def cancel(client: Impasto, job_id: str, *, as_json: bool) -> None:
    """Stop a job; one that is being painted stops after its current step."""
    _show(client.cancel(job_id), as_json=as_json)


@main.command()
@click.argument("job_id", metavar="ID")
@output_option
@service()
def get(client: Impasto, job_id: str, *, output: Path | None, as_json: bool) -> None:
    """Download a finished job's picture, checked against its SHA-256."""
    _collect(client, client.get(job_id), output, as_json=as_json)


@main.command()
@service()
def backbones(client: Impasto, *, as_json: bool) -> None:
    """List the feature networks that a spec can name, and whether a worker offers them now."""
    found = client.backbones()
    width = max((len(backbone.name) for backbone in found), default=0)
    for backbone in found:
        if as_json:
            print_json(backbone.raw)
            continue
        state = "available" if backbone.available else "no worker"
        print(f"{backbone.name:<{width}} {state:<11}{backbone.description}")


def _collect(client: Impasto, job: Job, output: Path | None, *, as_json: bool) -> None:
    found = format_in(job.output.content_type) if job.output else ""
    path = client.download(job, output or Path(f"{job.id}.{found}"))
    if format_of(path) not in (None, found):
        say(f"{path} holds a picture of the format {found}, whatever its name says")
    print_json(job.raw) if as_json else print(path)


def _show(job: Job, *, as_json: bool) -> None:
    print_json(job.raw) if as_json else print("\n".join(job_lines(job)))
