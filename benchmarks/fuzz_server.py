"""A thousand malformed requests: never a 5xx, and the server keeps answering.

    python benchmarks/fuzz_server.py INDEX [--requests 1000] [--seed 0]

Mutated JSON, sizes, encodings, headers, methods and paths, bodies that do not come, clients that
leave in the middle, over the loopback. After every fifty an ordinary question is asked.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

SLOW = 5.0  # seconds: such requests are shown
GOOD = {"q": "how do plants make food?", "top_k": 2, "depth": 3}
ODD: list[object] = [
    *(None, True, -1, 0, 1e308, 10**30, float("nan"), "", "\x00", "\ud800", [], {}, [[[[]]]]),
    *("x" * 5000, "🙂" * 900, "year == 1 and " * 30, "(" * 10, "id == 'a'" + ")" * 50, {"$gt": 1}),
]
NOISE = [
    *("X: " + "a" * 10, "X: " + "a" * 20_000, "Host: evil.example", "Host:", "A" * 300, ": empty"),
    *("Transfer-Encoding: chunked", "Content-Encoding: gzip", "Authorization: \xff\xfe"),
    *("Expect: 100-continue", "Connection: upgrade\r\nUpgrade: websocket"),
]
PATHS = [
    *("/", "//", "/%00", "/..%2f..%2fetc%2fpasswd", "/api/", "/api/search/", "/%ff%fe", "*"),
    *("/app.js/../app.py", "http://localhost/api/info", "/" + "a" * 9000),
]
VALUES = ["", "%00", "%ff", "%F0%9F%99%82", "1", "-1", "nan", "a" * 2000, "%u1234"]


def requests(chance: random.Random) -> bytes:
    """One request, as bytes."""
    kind = chance.randrange(9)
    body = json.dumps(mutated(chance)).encode("utf-8", "surrogatepass")
    head = "POST /api/search HTTP/1.1\r\nHost: localhost\r\n"
    json_type = "Content-Type: application/json\r\n"
    if kind == 0:  # cut or flipped JSON
        cut = bytearray(body[: chance.randrange(len(body) + 1)])
        for _ in range(chance.randrange(4)):
            if cut:
                cut[chance.randrange(len(cut))] = chance.randrange(256)
        body = bytes(cut)
    elif kind == 1:  # any bytes
        body = chance.randbytes(chance.choice([0, 1, 7, 4096, 65_536, 65_537, 200_000]))
    elif kind == 2:  # a length that is not true
        length = chance.choice(["-1", "abc", "1e3", str(10**20), str(len(body) + 5), "0x10"])
        return f"{head}{json_type}Content-Length: {length}\r\n\r\n".encode() + body
    elif kind == 3:  # headers
        head += chance.choice(NOISE) + "\r\n"
    elif kind == 4:  # a path
        path = chance.choice(PATHS)
        method = chance.choice(
            ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW", "g3t\x01"]
        )
        return f"{method} {path} HTTP/1.{chance.choice('01')}\r\nHost: localhost\r\n\r\n".encode(
            "latin-1"
        )
    elif kind == 5:  # a query string
        noise = "&".join(
            f"{chance.choice(['q', 'top_k', 'depth', 'where', 'rerank', 'x'])}="
            f"{chance.choice(VALUES)}"
            for _ in range(chance.randrange(1, 9))
        )
        verb = chance.choice(["search", "stream", "info"])
        return f"GET /api/{verb}?{noise} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    elif kind == 6:  # another encoding than is said
        body = json.dumps(mutated(chance)).encode(chance.choice(["utf-16", "utf-32", "utf-7"]))
        json_type = (
            f"Content-Type: application/json; charset={chance.choice(['utf-16', 'moon', ''])}\r\n"
        )
    elif kind == 7:  # no HTTP
        none = [b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 50, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        return chance.choice([*none, b"GET / HTTP/9.9\r\n\r\n", chance.randbytes(300)])
    return f"{head}{json_type}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def mutated(chance: random.Random) -> object:
    if chance.random() < 0.1:
        return chance.choice(ODD)
    asked: dict[str, object] = dict(GOOD)
    for _ in range(chance.randrange(1, 4)):
        name = chance.choice(
            [*GOOD, "where", "rerank", "group_by", "adaptive", "surplus", "__proto__"]
        )
        asked[name] = chance.choice(ODD)
    return asked


def answer(address: tuple[str, int], request: bytes, chance: random.Random) -> str:
    """The status, or how it ended."""
    with socket.create_connection(address, timeout=15) as connection:
        try:
            if chance.random() < 0.1:  # in small pieces, and away before the end
                for start in range(0, min(len(request), 400), 40):
                    connection.sendall(request[start : start + 40])
                    time.sleep(0.002)
                return "left"
            connection.sendall(request)
            if chance.random() < 0.7:
                connection.shutdown(socket.SHUT_WR)
            said = connection.recv(4096)
        except OSError as error:  # it has hung up, or does not answer
            return type(error).__name__
    found = re.match(rb"HTTP/1\.1 (\d{3})", said)
    return found[1].decode() if found else "closed" if not said else "no HTTP"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311
    command = [sys.executable, "-m", "shortlist.cli", "serve", options.index, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            address = next(
                found[1]
                for line in server.stderr
                if (found := re.search(r"answering at (\S+)/ ", line))
            )
            place = (address.removeprefix("http://").split(":")[0], int(address.rpartition(":")[2]))
            told: Counter[str] = Counter()
            for number in range(options.requests):
                request = requests(chance)
                began = time.perf_counter()
                status = answer(place, request, chance)
                if time.perf_counter() - began > SLOW:
                    print(
                        f"{time.perf_counter() - began:.1f} s: {status} {request[:120]!r}",
                        flush=True,
                    )
                told[status] += 1
                if status.startswith("5"):
                    print(status, request[:300])
                if number % 50 == 49:
                    good = httpx.post(address + "/api/search", json=GOOD, timeout=60)
                    assert good.status_code == 200, good.text
                    assert len(good.json()["hits"]) == 2
            print(f"{options.requests} requests:", dict(sorted(told.items())))
            print("waiting at the end:", httpx.get(address + "/healthz").json()["waiting"])
            server.terminate()
            log = server.stderr.read()
            print("the server's log:", log or "empty")
            assert not any(status.startswith("5") for status in told)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
