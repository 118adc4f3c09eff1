"""`make demo`: one real job through the real system, then everything stops.

Starts the house with its own data directory on a free port, uploads two of the samples over HTTP, submits a
job, shows its progress, and saves the picture.
"""

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from client import Impasto, ImpastoError
from client.progress import ProgressBar
from deploy.local import House, RunnerError
from shared.settings import settings

SAMPLES = Path(__file__).parent.parent / "samples"
#: What the demo decides by itself, whatever the environment says: it shall meet nobody and leave no trace.
OWN = {"data_dir": Path("var/demo"), "api_host": "127.0.0.1", "api_port": 0, "storage": "local"}
INTERRUPTED = 130


def main() -> int:
    """Run the demo; the exit status says whether a picture was painted."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description="Paint one sample picture.")
    parser.add_argument("--content", type=Path, default=SAMPLES / "content" / "town.jpg")
    parser.add_argument("--style", type=Path, default=SAMPLES / "style" / "stained_glass.jpg")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output.png"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = time.monotonic()
    try:
        config = settings().model_copy(update=OWN)
        with House(config, embed=True) as house:
            house.wait_until_ready(threading.Event())
            print(f"Impasto is ready after {time.monotonic() - started:.0f} s at {house.url}")
            token = next((secret.get_secret_value() for secret in config.api_tokens.values()), None)
            with Impasto(house.url, token) as impasto:
                _paint(impasto, arguments.content, arguments.style, arguments.output)
    except (RunnerError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except ImpastoError as error:
        print(f"No picture: {error}", file=sys.stderr)
        return 1
    print(f"The picture is {arguments.output.resolve()}")
    return 0


def _paint(impasto: Impasto, content: Path, style: Path, output: Path) -> None:
    job = impasto.submit(content, [style])
    print(f"Submitted {content.name} in the style of {style.name}: {job.id}")
    with ProgressBar() as bar:
        job = impasto.wait(job.id, on_progress=bar.job)
    impasto.download(job, output)


if __name__ == "__main__":
    sys.exit(main())
