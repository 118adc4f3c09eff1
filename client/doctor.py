"""`impasto doctor`: audit the stores of a service, where the service is installed.

What is looked for, and how, is `shared.audit`'s, which is loaded only for this command. It talks to Redis and
the object store themselves, by the service's own settings, not to the API.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from client.console import AWAY, FAILED, WRONG, leave, print_json, say


@click.command()
@click.option("--deep", is_flag=True, help="Also read every picture and compare its SHA-256: slow.")
@click.option("--repair", is_flag=True, help="Put index entries and counters right, from the records.")
@click.option("--json", "as_json", is_flag=True, help="Print each finding as one line of JSON.")
def doctor(*, deep: bool, repair: bool, as_json: bool) -> None:
    """Audit the service's stores: is every job where its record says, every picture where it should be?

    Run it where the service runs, with the same IMPASTO_* variables. It may run while the service is at work,
    and changes nothing unless --repair is given. Needs pip install 'impasto[client,service]'.

    Exit codes: 0 healthy; 1 something was found and is still so; 2 a setting is wrong; 3 Redis or the object
    store cannot be reached.
    """
    faults = notes = repaired = 0
    with _reported():
        # Loaded here: the other commands do without the service's packages.
        from shared.audit import here  # noqa: PLC0415

        try:
            findings = here(deep=deep, repair=repair)
        except ValueError as error:
            leave(WRONG, str(error))
        for finding in findings:
            faults += finding.fault
            repaired += finding.repaired
            notes += not finding.fault and not finding.repaired
            if as_json:
                print_json(
                    {
                        "code": str(finding.code),
                        "subject": finding.subject,
                        "detail": finding.detail,
                        "remedy": finding.remedy,
                        "fault": finding.fault,
                        "repaired": finding.repaired,
                    }
                )
            else:
                remedy = "Put right." if finding.repaired else finding.remedy
                print(f"{finding.code}: {finding.subject}: {finding.detail}\n    {remedy}")
    told = [f"{faults} found" if faults else "nothing is wrong"]
    told += [f"{repaired} put right: look again"] if repaired else []
    told += [f"{notes} to know of"] if notes else []
    say("; ".join(told))
    if faults:
        raise SystemExit(FAILED)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what keeps the audit from its end into a message and an exit code."""
    try:
        yield
    except ModuleNotFoundError as error:
        leave(FAILED, f"the audit needs {error.name}: pip install 'impasto[client,service]'")
    except Exception as error:
        # The service's faults are not known here where the service is not installed.
        if getattr(error, "code", None) not in ("store_unavailable", "storage_unavailable"):
            raise
        leave(AWAY, str(error), "The audit goes by the service's own IMPASTO_* variables.")
