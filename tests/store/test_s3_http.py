"""HTTP for S3: which connections are kept, when a request is sent again, and what is read of an answer. Servers here are scripts."""

import base64
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite.store import s3_http
from dvlite.store.s3_http import Broken, Connections, Message, Server, TooLong, Trust, Unreached
from tests.store import company

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LARGE = bytes(32 << 20)


@contextlib.contextmanager
def server(talk):
    """Runs `talk(connection, number)` for each connection, on a thread of its own; yields where, and the list of connections."""
    taken, threads = [], []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection = listening.accept()[0]
                    taken.append(connection)
                    threads.append(threading.Thread(target=serve, args=(connection, len(taken)), daemon=True))
                    threads[-1].start()

        def serve(connection, number):
            with connection, contextlib.suppress(OSError):
                talk(connection, number)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield Server("http", "127.0.0.1", listening.getsockname()[1]), taken
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for connection in taken:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


def heard(connection):
    """Reads the head of a request, and the body that it announces; an error if there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(1 << 20)
    return head.decode()


def answers(*texts):
    """Answers each request of a connection with the next of these texts, then hangs up."""

    def talk(connection, number):
        for text in texts:
            heard(connection)
            connection.sendall(text)

    return talk


@pytest.fixture
def connect():
    opened = []

    def connect(most=4, *, trust=None, proxy=None):
        opened.append(Connections(trust or Trust(), lambda _: proxy, most=most))
        return opened[-1]

    yield connect
    for connections in opened:
        connections.close()


def asked(*, body=b"", most=100, method="GET", first=0):
    return Message(method, "/bucket/key?x=1", {"host": "example"}, body, most, first)


def test_a_connection_is_kept_for_the_next_request(connect):
    with server(answers(OK, OK, OK)) as (where, taken):
        connections = connect()
        assert [connections.send(where, asked()).body for _ in range(3)] == [b"hi"] * 3
        assert len(taken) == 1


def test_a_kept_connection_that_the_server_closed_costs_no_failure(connect):
    """Also if it closes when the request has arrived, which no look beforehand can see."""

    def talk(connection, number):
        heard(connection)
        connection.sendall(OK)
        if number == 1:
            heard(connection)

    with server(talk) as (where, taken):
        connections = connect()
        for _ in range(2):
            assert connections.send(where, asked(body=b"x" * 200_000, method="PUT")).status == 200
        assert len(taken) == 2


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"])
def test_an_answer_that_breaks_off_is_not_asked_for_again_here(connect, text):
    def talk(connection, number):
        heard(connection)
        connection.sendall(text)

    with server(talk) as (where, taken):
        with pytest.raises(Broken):
            connect().send(where, asked())
        assert len(taken) == 1
    if text:  # on a connection that was kept, too
        with server(answers(OK, text)) as (where, taken):
            connections = connect()
            connections.send(where, asked())
            with pytest.raises(Broken):
                connections.send(where, asked())
            assert len(taken) == 1


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, TooLong),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", Broken),  # it may be the half
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", TooLong),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n", TooLong),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 91\r\n\r\n", TooLong),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 403 No\r\n\r\nno", b"no"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000, b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", Broken),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", Broken),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Broken),
        (b"\0" * 70_000, Broken),
    ],
    ids=lambda value: value[:50] if isinstance(value, bytes) else value.__name__,
)
def test_an_answer_is_read_to_its_limit_and_is_whole(connect, text, outcome):
    with server(answers(text)) as (where, _):
        if isinstance(outcome, bytes):
            assert connect().send(where, asked(first=10)).body == outcome
        else:
            with pytest.raises(outcome):
                connect().send(where, asked(first=10))


def test_bytes_beyond_an_answer_are_not_the_next_answer(connect):
    def talk(connection, number):
        while True:
            heard(connection)
            connection.sendall(OK + b"x" * 20_000)

    with server(talk) as (where, taken):
        connections = connect()
        assert [connections.send(where, asked()).body for _ in range(3)] == [b"hi"] * 3
        assert len(taken) == 3


def test_a_refusal_before_the_body_was_read_is_heard(connect):
    def talk(connection, number):
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.2)
        connection.recv(1 << 16)

    with server(talk) as (where, _):
        assert connect().send(where, asked(body=LARGE, method="PUT")).status == 403


@pytest.mark.parametrize("body", [b"", LARGE])
def test_a_server_that_falls_silent_has_a_time_limit(connect, monkeypatch, body):
    monkeypatch.setattr(s3_http, "_SILENT_SECONDS", 0.2)
    monkeypatch.setattr(s3_http, "_CONNECT_SECONDS", 600)
    released = threading.Event()
    with server(lambda *_: released.wait(30)) as (where, _):
        with pytest.raises(Broken) as caught:
            connect().send(where, asked(body=body, method="PUT"))
        assert isinstance(caught.value.__cause__, TimeoutError)
        released.set()


def test_close_ends_requests_that_run_and_refuses_later_ones(connect):
    arrived, released = threading.Barrier(4), threading.Event()

    def talk(connection, number):
        heard(connection)
        arrived.wait(30)
        released.wait(30)

    with server(talk) as (where, _), ThreadPoolExecutor(5) as pool:
        connections = connect(3)
        running = [pool.submit(connections.send, where, asked()) for _ in range(5)]  # two of them wait for a connection
        arrived.wait(30)
        connections.close()
        errors = [future.exception(30) for future in running]
        assert {type(error) for error in errors} == {Broken, Unreached}
        assert not [error for error in errors if isinstance(error.__cause__, TimeoutError)]
        with pytest.raises(Unreached):
            connections.send(where, asked())
        released.set()


def test_there_are_never_more_connections_than_allowed(connect):
    with server(answers(*[OK] * 40)) as (where, taken), ThreadPoolExecutor(8) as pool:
        connections = connect(2)
        assert all(pool.map(lambda _: connections.send(where, asked()).body == b"hi", range(40)))
        assert len(taken) <= 2


def test_a_dead_address_does_not_hide_the_next(connect, monkeypatch):
    with server(answers(OK)) as (where, _), socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound, not listening
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (dead.getsockname()[1], where.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert connect().send(where, asked()).body == b"hi"


def test_a_proxy_gets_the_whole_address_and_who_we_are(connect):
    heads = []

    def talk(connection, number):
        heads.append(heard(connection))
        connection.sendall(OK)

    with server(talk) as (proxy, _):
        url = f"http://ann:pass%20word@127.0.0.1:{proxy.port}"
        assert connect(proxy=url).send(Server("http", "store.example.invalid", 9000), asked()).body == b"hi"
    assert heads[0].startswith("GET http://store.example.invalid:9000/bucket/key?x=1 HTTP/1.1\r\n")
    assert f"proxy-authorization: Basic {base64.b64encode(b'ann:pass word').decode()}" in heads[0]


def test_tls_goes_through_a_tunnel_and_a_proxy_that_refuses_is_named(connect):
    heads = []

    def talk(connection, number):
        heads.append(heard(connection))
        if "authorization" not in heads[-1]:
            connection.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = heads[-1].split(" ")[1].partition(":")
        with socket.create_connection((host, int(port))) as onward:
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=pump, args=(onward, connection), daemon=True)
            back.start()
            pump(connection, onward)
            back.join(10)

    def pump(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    with company.running_company(tls=True) as private, server(talk) as (proxy, _):
        private.objects["key"] = b"hi"
        where = Server("https", "localhost", int(private.url.rpartition(":")[2]))
        trust = Trust(bundle=str(company.CERTIFICATE))
        inside = connect(trust=trust, proxy=f"http://ann:x@127.0.0.1:{proxy.port}")
        assert inside.send(where, asked()).body == b"hi"
        assert heads[0].startswith(f"CONNECT localhost:{where.port} HTTP/1.1\r\n")
        with pytest.raises(Unreached) as caught:
            connect(trust=trust, proxy=f"http://127.0.0.1:{proxy.port}").send(where, asked())
        assert (caught.value.proxied, caught.value.refused) == (True, 407)
        inside.close()


def test_other_certificates_count_where_those_of_this_machine_do_not_do(connect):
    with company.running_company(tls=True) as private:
        private.objects["key"] = b"hi"
        where = Server("https", "localhost", int(private.url.rpartition(":")[2]))
        assert connect(trust=Trust(others=lambda: str(company.CERTIFICATE))).send(where, asked()).body == b"hi"
        assert connect(trust=Trust(verify=False)).send(where, asked()).body == b"hi"
        with pytest.raises(Unreached):
            connect().send(where, asked())


def test_the_default_port_is_not_part_of_an_address():
    assert Server("https", "a.example", 443).address == "a.example"
    assert Server("http", "::1", 443).address == "[::1]:443"
