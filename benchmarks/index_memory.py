"""Memory and rate of `shortlist index` on many passages, as a plot over time.

    python benchmarks/index_memory.py --passages 300000 --work work/index_memory

The passages are those of the public collections beside the checkout; where there are too few they
come again with a distinguishing word, so that none is encoded only once. Prints a table and a plot
for RESULTS.md (Mermaid); the samples, one a second, are kept as CSV.

RSS counts pages of mapped files as well, which the system takes back when it needs them;
"anonymous" is what the process holds itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data"
POINTS = 30  # of the plot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=300_000)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=Path("work/index_memory"))
    parser.add_argument("options", nargs="*", help="of shortlist index, after --")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    source = args.work / f"{args.passages}.jsonl"
    if not source.exists():
        write_passages(source, args.passages, args.data)
    index = args.work / f"{args.passages}.idx"
    samples = watch(source, index, args.options)
    with (args.work / "memory.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["seconds", "passages", "rss_mb", "anonymous_mb"])
        table.writerows([f"{value:.1f}" for value in sample] for sample in samples)
    print(report(samples, index))


def write_passages(path: Path, count: int, data: Path) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        for number, (title, text) in zip(range(count), passages(data), strict=False):
            row = {"_id": str(number), "title": title, "text": text, "round": number}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    draft.rename(path)


def passages(data: Path) -> Iterator[tuple[str, str]]:
    """Every passage of every collection, again and again, marked from the second round on."""
    files = sorted(data.glob("*/corpus.jsonl"))
    mark = ""
    for turn in range(1_000_000):
        for file in files:
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    if row["text"]:
                        yield row.get("title") or "", row["text"] + mark
        mark = f" (copy {turn + 1})"


def watch(source: Path, index: Path, options: list[str]) -> list[tuple[float, float, float, float]]:
    command = [sys.executable, "-m", "shortlist.cli.__main__", "index", str(source)]
    command += ["-o", str(index), *options]
    started = time.monotonic()
    process = subprocess.Popen(command)
    samples = []
    while process.poll() is None:
        rss, anonymous = memory(process.pid)
        samples.append((time.monotonic() - started, committed(index), rss, anonymous))
        time.sleep(1)
    if process.returncode:
        sys.exit(process.returncode)
    samples.append((time.monotonic() - started, committed(index), *samples[-1][2:]))
    return samples


def memory(pid: int) -> tuple[float, float]:
    """RSS and its anonymous part, in MB (10**6 bytes)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return tuple(int(found.get(name, 0)) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))


def committed(index: Path) -> float:
    try:
        manifest = json.loads((index / "manifest.json").read_text())
    except (OSError, ValueError):
        return 0.0
    return float(sum(segment["rows"] for segment in manifest["segments"]))


def report(samples: list[tuple[float, float, float, float]], index: Path) -> str:
    seconds, rows = samples[-1][:2]
    third = len(samples) // 3
    lines = [
        f"{rows:,.0f} passages, {seconds:,.0f} s ({rows / seconds:.0f}/s), {index.name}: "
        f"{sum(p.stat().st_size for p in index.iterdir()) / 1e6:,.0f} MB",
        f"peak RSS {max(s[2] for s in samples):,.0f} MB, "
        f"anonymous {max(s[3] for s in samples):,.0f} MB",
    ]
    for name, part in (("first", samples[:third]), ("last", samples[-third:])):
        lines.append(
            f"{name} third, mean: RSS {mean(part, 2):,.0f} MB, anonymous {mean(part, 3):,.0f} MB"
        )
    chosen = samples[:: max(1, len(samples) // POINTS)]
    most = 100 * (1 + int(max(s[2] for s in samples) // 100))
    lines += [
        "```mermaid",
        "xychart-beta",
        f'  title "Memory while indexing {rows:,.0f} passages: RSS, and its anonymous part"',
        f'  x-axis "minutes" 0 --> {seconds / 60:.0f}',
        f'  y-axis "MB" 0 --> {most}',
        f"  line [{', '.join(f'{s[2]:.0f}' for s in chosen)}]",
        f"  line [{', '.join(f'{s[3]:.0f}' for s in chosen)}]",
        "```",
    ]
    return "\n".join(lines)


def mean(samples: list[tuple[float, float, float, float]], column: int) -> float:
    return sum(sample[column] for sample in samples) / max(1, len(samples))


if __name__ == "__main__":
    main()
