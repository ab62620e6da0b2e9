"""The server under load: 64 clients for a minute, beside one client alone.

    shortlist index ../shared/data/wikipedia -o work/wikipedia.idx
    python benchmarks/serve_load.py work/wikipedia.idx ../shared/data/squad/queries.jsonl

Only over the loopback, and it ends by itself. Each client asks one question after the other, and
waits as long as Retry-After says where it is told 503. Told are completed answers per second, the
share of one client's, the times of accepted requests, what the rest was told, and the server's
memory at the beginning and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

from shortlist.data.queries import read_queries

SECONDS, CLIENTS, WARM_UP = 60, 64, 10


async def load(
    address: str, questions: list[str], clients: int, seconds: float
) -> dict[str, object]:
    """So many clients for so long."""
    took: list[float] = []
    first: list[float] = []
    told: Counter[str] = Counter()
    refused: list[float] = []
    asked = itertools.cycle(questions)
    began = time.perf_counter()

    async def client(http: httpx.AsyncClient) -> None:
        while (now := time.perf_counter()) - began < seconds:
            seen = None
            try:
                async with http.stream("GET", "/api/stream", params={"q": next(asked)}) as response:
                    if response.status_code == 503:
                        await response.aread()
                        told["503"] += 1
                        refused.append(time.perf_counter() - now)
                        pause = float(response.headers["retry-after"])
                        await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
                        continue
                    text = ""
                    async for part in response.aiter_text():
                        text += part
                        seen = seen or time.perf_counter() - now
                    assert response.status_code == 200, text
                    last = json.loads(text.rpartition("data: ")[2])
                    assert last["final"], text
                    told["reranked" if last["reranked"] else "first stage only"] += 1
            except httpx.HTTPError as error:
                told[type(error).__name__] += 1
                continue
            took.append(time.perf_counter() - now)
            first.append(seen or 0.0)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    spent = time.perf_counter() - began
    return {
        "answers/s": len(took) / spent,
        "p50 s": float(np.median(took)),
        "p95 s": float(np.quantile(took, 0.95)),
        "most s": max(took),
        "first stage p50 s": float(np.median(first)),
        "503 within s (p95)": float(np.quantile(refused, 0.95)) if refused else None,
        "told": dict(told),
    }


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    options = parser.parse_args()
    questions = list(read_queries(options.queries).values())
    random.Random(0).shuffle(questions)  # noqa: S311
    command = [sys.executable, "-m", "shortlist.cli", "serve", options.index, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            address = next(
                found[1]
                for line in server.stderr
                if (found := re.search(r"answering at (\S+)/ ", line))
            )
            budget = httpx.get(address + "/api/info").json()["budget_ms"] / 1000
            asyncio.run(load(address, questions, 1, WARM_UP))
            rows = []
            # one client before and after: the machine's pace changes
            for clients in (1, options.clients, 1):
                before = memory_mb(server.pid)
                found = asyncio.run(load(address, questions, clients, options.seconds))
                rows.append(found)
                print(f"{clients} clients: {json.dumps(found)}", flush=True)
                print(f"  memory {before:.0f} -> {memory_mb(server.pid):.0f} MB", flush=True)
            alone = np.mean([rows[0]["answers/s"], rows[2]["answers/s"]])
            share = rows[1]["answers/s"] / alone
            print(
                f"{share:.1%} of one client's answers; all within {budget:.0f} s: "
                f"{rows[1]['most s'] <= budget}"
            )
            server.terminate()
        finally:
            server.kill()


if __name__ == "__main__":
    main()
