"""How gunicorn serves the API: `gunicorn -c api/gunicorn.py 'api.app:from_environment()'`.

Threads, not processes, serve requests at a time: they wait for Redis and the object store, not for the CPU.
Several processes are a matter of `--workers` or of several containers.
"""

import gc
import resource
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

from gunicorn import glogging, util  # type: ignore[import-untyped]

from api import problems
from api.auth import OpenToAllError, check_binding
from api.closing import Closer
from api.services import hub_of
from shared.logs import set_up_logging
from shared.settings import settings

_settings = settings()
try:
    check_binding(_settings)
except OpenToAllError as error:
    sys.exit(f"impasto: {error}")

# A caller that waits costs a descriptor.
with suppress(OSError, ValueError):
    _most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (_most, _most))

set_up_logging(_settings)


class Lines(glogging.Logger):  # type: ignore[misc]
    """Gunicorn's log, written as all others are."""

    def setup(self, cfg: object) -> None:
        """Hand every line on to the root logger."""
        super().setup(cfg)
        for one in (self.error_log, self.access_log):
            one.handlers.clear()
            one.propagate = True

    def exception(self, msg: str, *args: object, **kwargs: object) -> None:
        """A caller that stands still for too long is no error of this program."""
        if isinstance(sys.exception(), BlockingIOError):
            self.info("A caller stood still for %d s and is cut off.", _settings.api_stall_seconds)
        else:
            super().exception(msg, *args, **kwargs)


_host = f"[{_settings.api_host}]" if ":" in _settings.api_host else _settings.api_host
bind = f"{_host}:{_settings.api_port}"
worker_class = "gthread"
workers = 1
threads = _settings.api_threads
#: Idle connections a caller may keep open between polls.
keepalive = 15
#: On SIGTERM, requests under way may end; an upload takes longest.
graceful_timeout = 30
loglevel = _settings.log_level.lower()
logger_class = Lines
#: The application logs its requests itself: api/traffic.py.
accesslog = None
#: By how much longer a caller may stand still in mid-answer: one that reads slowly makes room seldom.
_WRITING = 4
#: No header of a request changes who asked or where: a proxy in front sets IMPASTO_PUBLIC_URL instead.
forwarded_allow_ips = ""
#: Gunicorn's own remote control would be one more thing to guard.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:  # noqa: ANN401 - gunicorn's, which has no types
    """Answer what is not HTTP, or has too long an address or header, with a problem instead of a page.

    Such requests never reach the application. Those that wait, and gunicorn knows nothing of, are told to go
    once the worker is. What is loaded by now stays, and the garbage collector need not look through it again.
    """
    gc.freeze()
    # Each connection has these from the socket that it came in by, whether gunicorn has it block or not.
    for listener in worker.sockets:
        for direction, times in ((socket.SO_RCVTIMEO, 1), (socket.SO_SNDTIMEO, _WRITING)):
            limit = struct.pack("ll", times * _settings.api_stall_seconds, 0)  # a timeval, socket(7)
            listener.setsockopt(socket.SOL_SOCKET, direction, limit)
    util.close_graceful = Closer(util.close_graceful)
    util.write_error = problems.write_unreadable
    if (hub := hub_of(worker.wsgi)) is not None:
        hub.leaving = lambda: not worker.alive


def worker_exit(server: object, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's signature
    """Answer whoever waits, so that they come back to another process."""
    if (hub := hub_of(worker.wsgi)) is not None:
        hub.close()
