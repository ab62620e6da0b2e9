"""A real Milvus server for the tests, reachable from this machine alone.

The server listens on all interfaces and cannot be told not to. So it runs in a network namespace of
its own, whose only interface is a loopback, and two relays join its port by way of a Unix socket to
a port of 127.0.0.1 here.

    python milvus_server.py FOLDER    # prints the port, and ends when its stdin is closed
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

IN_NAMESPACE = ["unshare", "--net", "--map-root-user"]


def is_possible() -> bool:
    """Whether this machine lets us make a network namespace."""
    try:
        return subprocess.run([*IN_NAMESPACE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def milvus_server(folder: Path) -> Iterator[str]:
    """Start a server that keeps its data in `folder`; yields its URI."""
    with subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as relay:
        assert relay.stdin and relay.stdout
        try:
            port = relay.stdout.readline().decode().strip()
            assert port, f"no Milvus server; see {folder}/log"
            yield f"http://127.0.0.1:{port}"
        finally:
            relay.stdin.close()
            relay.wait()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await source.read(1 << 16):
            sink.write(block)
            await sink.drain()
    with contextlib.suppress(OSError, RuntimeError):
        sink.write_eof()


def _joined(connect):  # type: ignore[no-untyped-def]
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
        for side in (writer, other_writer):
            side.close()

    return accepted


async def _outside(folder: Path) -> None:
    with (folder / "log").open("wb") as log:
        inside = subprocess.Popen(
            [*IN_NAMESPACE, sys.executable, __file__, str(folder), "inside"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert inside.stdin and inside.stdout
    started = await asyncio.to_thread(inside.stdout.readline)
    if started:
        path = str(folder / "socket")
        connect = _joined(lambda: asyncio.open_unix_connection(path))
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the tests are done with it
    inside.stdin.close()
    inside.wait()


async def _inside(folder: Path) -> None:
    _start_loopback()
    from milvus import MilvusServer, MilvusServerConfig

    server = MilvusServer(MilvusServerConfig(data_dir=str(folder / "data")))
    server.start()
    try:
        connect = _joined(lambda: asyncio.open_connection("127.0.0.1", server.listen_port))
        await asyncio.start_unix_server(connect, str(folder / "socket"))
        print("started", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        server.stop()


def _start_loopback() -> None:
    """`ip link set lo up`, where there is no `ip`."""
    with socket.socket() as any_socket:
        up_and_running = struct.pack("16sh", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_socket, 0x8914, up_and_running)  # SIOCSIFFLAGS


if __name__ == "__main__":
    place = Path(sys.argv[1])
    os.environ["HOME"] = str(place)  # the server leaves nothing in the user's
    asyncio.run(_inside(place) if sys.argv[2:] else _outside(place))
