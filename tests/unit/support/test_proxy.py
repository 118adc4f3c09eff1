"""The proxy that misbehaves does so as it is told, and is no other fault beside."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support import proxy as faults
from tests.support.proxy import FaultProxy, Way


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that says back what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(client: socket.socket) -> None:
            with client:
                try:
                    while data := client.recv(1024):
                        client.sendall(data)
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultProxy]:
    with FaultProxy(echo) as proxy:
        yield proxy


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 60)


def say(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(1024)


def test_without_a_fault_everything_passes_both_ways(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        assert say(client, b"hello") == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1024) == b""


def test_what_a_black_hole_holds_arrives_when_it_is_healed(proxy: FaultProxy) -> None:
    with connected(proxy) as client:
        assert say(client, b"before") == b"before"
        proxy.rule = faults.black_hole
        client.settimeout(0.2)
        client.sendall(b"held")
        with pytest.raises(TimeoutError):
            client.recv(1024)
        proxy.rule = faults.pass_on
        client.settimeout(60)
        assert client.recv(1024) == b"held"


def test_connections_can_be_cut_by_count_by_content_and_all_at_once(proxy: FaultProxy) -> None:
    proxy.rule = faults.cut_after(5, Way.ANSWERED)
    with connected(proxy) as client:
        assert say(client, b"12345") == b"12345"
        with pytest.raises(ConnectionError):
            _refused(say(client, b"6"))
    proxy.rule = faults.cut_when(lambda way, chunk: way is Way.ASKED and b"die" in chunk)
    with connected(proxy) as client:
        assert say(client, b"live") == b"live"
        with pytest.raises(ConnectionError):
            _refused(say(client, b"die"))
    with connected(proxy) as client:
        assert say(client, b"die again: once was asked for") == b"die again: once was asked for"
        assert proxy.connections == 1
        proxy.cut_all()
        with pytest.raises(ConnectionError):
            _refused(client.recv(1024))
    assert proxy.connections == 0


def test_new_connections_can_be_refused(proxy: FaultProxy) -> None:
    proxy.accepting = False
    with pytest.raises(ConnectionError), connected(proxy) as client:
        _refused(say(client, b"hello"))
    proxy.accepting = True
    with connected(proxy) as client:
        assert say(client, b"hello") == b"hello"


def test_a_delayed_answer_comes_all_the_same(proxy: FaultProxy) -> None:
    proxy.rule = faults.delayed(0.05, jitter=0.05, seed=1)
    with connected(proxy) as client:
        assert say(client, b"slow") == b"slow"


def _refused(answer: bytes) -> None:
    """A connection that was reset before anything was read may look closed in good order."""
    if not answer:
        raise ConnectionResetError
