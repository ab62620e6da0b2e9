"""Whether memory stays flat while a large file streams, and whether bombs are refused.

python benchmarks/stream_memory.py            # a quarter of a gigabyte of each, a few minutes
python benchmarks/stream_memory.py --full     # 2 GB of JSONL, a bz2 dump of about 1 GB
"""

from __future__ import annotations

import argparse
import bz2
import json
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from shortlist.data.collections import Cutting, load
from shortlist.errors import DataError

PARAGRAPHS_OF_A_PAGE = 4
POINTS = 10  # at which memory is looked at
SLACK = 16  # MiB that the peak may grow after the first tenth,
PER_PASSAGE = 20  # and bytes for each passage: ids are remembered
SHRINKS = 2.8  # times, by bzip2, as measured on what `prose` makes
MIB = 1 << 20


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def prose(seed: int = 0) -> list[str]:
    """Make 20,000 different paragraphs: more than the window of any compressor."""
    random_ = random.Random(seed)  # noqa: S311 - test data
    letters = "etaoinshrdlucmfwypvbg"
    words = ["".join(random_.choices(letters, k=random_.randint(2, 9))) for _ in range(20_000)]
    return [" ".join(random_.choices(words, k=80)).capitalize() + "." for _ in range(20_000)]


def write_jsonl(path: Path, size: int, paragraphs: list[str]) -> int:
    """Write about `size` bytes; return the number of passages."""
    random_, count, written = random.Random(1), 0, 0  # noqa: S311 - test data
    with path.open("wb") as file:
        while written < size:
            row = {"_id": f"d{count}", "title": "T", "text": random_.choice(paragraphs), "n": count}
            written += file.write(json.dumps(row).encode() + b"\n")
            count += 1
    return count


def pages(size: int, paragraphs: list[str]) -> Iterator[bytes]:
    """Yield about `size` bytes of pages of four paragraphs."""
    random_, number = random.Random(2), 0  # noqa: S311 - test data
    while size > 0:
        number += 1
        text = "\n\n".join(random_.choices(paragraphs, k=PARAGRAPHS_OF_A_PAGE))
        page = (
            f"<page><title>Page {number}</title><ns>0</ns><id>{number}</id><revision><id>1</id>"
            f"<text>'''Page''' [[of|text]] {text}</text></revision></page>\n"
        ).encode()
        size -= len(page)
        yield page


def write_dump(path: Path, size: int, paragraphs: list[str]) -> int:
    """Write a bz2 dump of about `size` bytes of XML; return the number of passages."""
    count = 0
    with bz2.open(path, "wb") as file:
        file.write(b"<mediawiki>\n")
        for page in pages(size, paragraphs):
            file.write(page)
            count += PARAGRAPHS_OF_A_PAGE
        file.write(b"</mediawiki>\n")
    return count


def memory() -> tuple[float, float]:
    """Return the resident memory of this process now, and its peak, in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def draw(path: Path, expected: int) -> None:
    """Stream a file, and print the number of passages and the memory at several points."""
    step = max(1, expected // POINTS)
    count = 0
    for count, _ in enumerate(load(path, Cutting(count_words, 256)).passages, 1):
        if count % step == 0:
            now, peak = memory()
            print(f"  {count:10,} passages, {now:6.0f} MiB now, {peak:6.0f} MiB peak", flush=True)
    if count != expected:
        raise SystemExit(f"{path}: {count} passages, expected {expected}")


def streamed(path: Path, expected: int) -> bool:
    """Stream a file in a process of its own; whether the memory stayed flat."""
    print(f"{path.name}: {path.stat().st_size / MIB:,.0f} MiB, {expected:,} passages", flush=True)
    start = time.monotonic()
    child = [sys.executable, __file__, "--draw", path, "--expected", str(expected)]
    done = subprocess.run(child, check=True, capture_output=True, text=True)
    print(done.stdout, end="")
    peaks = [int(line.split()[-3]) for line in done.stdout.splitlines()]
    allowed = peaks[0] + SLACK + PER_PASSAGE * expected / MIB
    flat = peaks[-1] <= allowed
    verdict = "flat" if flat else f"NOT FLAT, expected at most {allowed:.0f} MiB"
    print(f"  {verdict}, {expected / (time.monotonic() - start):,.0f} passages/s", flush=True)
    return flat


def gzip_bomb(path: Path, head: bytes, size: int = 2 << 30) -> Path:
    """Write `head` and `size` blanks: a thousandth of that on the disk."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        file.write(packer.compress(head))
        for _ in range(size // MIB):
            file.write(packer.compress(b" " * MIB))
        file.write(packer.flush())
    return path


def bombs(folder: Path) -> Iterator[Path]:
    """Write small files that would become gigabytes."""
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    laughs = folder / "entities.xml"
    laughs.write_text(
        f'<!DOCTYPE mediawiki [<!ENTITY l0 "ha">{levels}]><mediawiki><page><title>A</title>'
        "<id>1</id><revision><text>&l11;</text></revision></page></mediawiki>"
    )
    yield laughs
    yield gzip_bomb(folder / "blanks.xml.gz", b"<mediawiki>")
    yield gzip_bomb(folder / "page.xml.gz", b"<mediawiki><page><title>A</title><revision><text>")
    yield gzip_bomb(folder / "line.jsonl.gz", b'{"text": "')
    yield gzip_bomb(folder / "cell.csv.gz", b'id,text\n1,"')
    yield gzip_bomb(folder / "note.tsv.gz", b"1\t")


def refused(path: Path) -> bool:
    """Read a bomb in a process of its own; whether it was refused, in how long and with what."""
    start = time.monotonic()
    child = [sys.executable, __file__, "--draw", path, "--bomb"]
    done = subprocess.run(child, check=False, capture_output=True, text=True)
    seconds = time.monotonic() - start
    print(f"{path.name} ({path.stat().st_size:,} bytes), {seconds:.1f} s: {done.stdout.strip()}")
    return done.returncode == 0


def explode(path: Path) -> None:
    """Read a bomb, and print what it was refused with."""
    try:
        for _ in load(path, Cutting(count_words, 256)).passages:
            pass
    except DataError as error:
        print(f"refused at a peak of {memory()[1]:.0f} MiB: {error}")
        return
    raise SystemExit("read, not refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="gigabytes; needs 4 GB of disk")
    parser.add_argument("--folder", type=Path, help="where the files are made; default: /tmp")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--expected", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--bomb", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.draw:
        return explode(args.draw) if args.bomb else draw(args.draw, args.expected)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder, paragraphs = Path(name), prose()
        verdicts = []
        table, dump = folder / "rows.jsonl", folder / "dump.xml.bz2"
        size = (2 << 30) if args.full else (256 << 20)
        verdicts.append(streamed(table, write_jsonl(table, size, paragraphs)))
        table.unlink()
        size = int(SHRINKS * (1 << 30)) if args.full else (256 << 20)
        verdicts.append(streamed(dump, write_dump(dump, size, paragraphs)))
        dump.unlink()
        verdicts += [refused(bomb) for bomb in bombs(folder)]
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
