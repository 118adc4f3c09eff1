"""`impasto batch`: repaint every picture of a folder, and go on where an earlier run was stopped."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from client.api import Impasto
from client.console import FAILED, PATIENT, knock, leave, print_json, say, service
from client.folder import PATTERNS, Walk
from client.folder_report import Progress, summary
from client.folder_run import LEDGER, Asked, FolderRun, OtherRunError
from client.folder_ways import PART_PICTURES, ByBatches, ByJobs, Way
from client.options import given_init, given_spec, spec_options, style_options
from client.parameters import combined, pair

#: What a shell reports of a program that Ctrl-C has ended.
INTERRUPTED = 130


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--style",
    "styles",
    metavar="PICTURE",
    multiple=True,
    required=True,
    help="Picture to take the style from: a file, an http(s) address or upload:ID; may be repeated.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help=f"Folder for the paintings, another than FOLDER; {LEDGER} there says what has been done.",
)
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    default=PATTERNS,
    help="Files to paint, such as '*.jpg' or 'holiday/*'; may be repeated. All common pictures by default.",
)
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Files to leave out; may be repeated.")
@click.option("--recursive/--flat", default=True, help="Look into folders of the folder, too; the default.")
@style_options
@spec_options
@click.option("--metadata", type=pair, metavar="NAME=VALUE", multiple=True, help="Kept with each job.")
@click.option("--priority", type=click.IntRange(0, 9), help="9 first, 0 last, among your own jobs.")
@click.option("--deadline", type=click.FloatRange(0, min_open=True), help="Seconds that a job may take.")
@click.option("--fresh", is_flag=True, help="Paint even what the service has painted just so before.")
@click.option(
    "--via",
    type=click.Choice(["auto", "batches", "jobs"]),
    default="auto",
    show_default=True,
    help="How to hand the pictures in; auto takes batches where the service has them.",
)
@click.option(
    "--part",
    type=click.IntRange(1, 10_000),
    default=PART_PICTURES,
    show_default=True,
    help="Pictures of one batch.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Uploads, requests and downloads at once.",
)
@click.option("--retry-failed", is_flag=True, help="Hand in again what failed in an earlier run.")
@click.option("--restart", is_flag=True, help="Paint everything again.")
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the jobs, which go on otherwise.")
@service(PATIENT)
def batch(
    client: Impasto,
    folder: Path,
    *,
    styles: tuple[str, ...],
    out: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    recursive: bool,
    mix: tuple[float, ...] | None,
    masks: tuple[str, ...],
    regions: tuple[str, ...],
    metadata: tuple[tuple[str, str], ...],
    priority: int | None,
    deadline: float | None,
    fresh: bool,
    via: str,
    part: int,
    in_flight: int,
    retry_failed: bool,
    restart: bool,
    cancel_on_interrupt: bool,
    as_json: bool,
    **spec: Any,  # noqa: ANN401 - the spec's options
) -> None:
    """Repaint every picture of FOLDER in the style of each --style, into another folder under its name.

    The same command again goes on where the last was stopped, however it was: nothing is handed in, painted
    or downloaded twice. Pictures that were added or changed are painted.

    Exit codes: 0 every picture has its painting; 1 some have not, and why is said; 130 after Ctrl-C; others
    as for every command.
    """
    asked = Asked(
        styles=combined(styles, mix, masks, regions),
        init=given_init(spec),
        spec=given_spec(spec),
        metadata=dict(metadata),
        priority=priority,
        deadline_seconds=deadline,
        fresh=fresh or None,
    )
    if out.exists() and out.samefile(folder):
        raise click.BadParameter(
            f"{out} is FOLDER itself, where paintings would take the place of pictures: name another folder, "
            f"such as {out / 'paintings'}",
            param_hint="'-o' / '--out'",
        )
    walk = Walk(folder, include, exclude, recursive=recursive, out=out)
    progress = Progress()
    knock()
    try:
        run = FolderRun(
            client, walk, out, asked, progress, in_flight=in_flight, restart=restart, again=retry_failed
        )
    except OtherRunError as error:
        raise click.UsageError(str(error)) from error
    try:
        with run:
            batches = via == "batches" or (via == "auto" and ByBatches.offered(client))
            way: Way = ByBatches(client, run, progress, part) if batches else ByJobs(client, run)
            try:
                way.paint(run.begin())
                fates = run.finish()
            except KeyboardInterrupt:
                progress.close()
                _interrupted(way, cancel=cancel_on_interrupt)
    finally:
        progress.close()
    lines = summary(fates)
    if as_json:
        for fate in fates:
            print_json({**asdict(fate), "painting": fate.painting and str(out / fate.painting)})
    if any(fate.status != "succeeded" for fate in fates):
        leave(FAILED, *lines)
    say(lines[0])


def _interrupted(way: Way, *, cancel: bool) -> None:
    if cancel:
        say(f"canceled {way.cancel()} that had not ended")
    else:
        say("The jobs go on, and so does the same command with them. --cancel-on-interrupt would end them.")
    raise SystemExit(INTERRUPTED)
