"""Two processes search while a third adds, replaces, deletes and compacts.

    python benchmarks/readers_and_writer.py | tee benchmarks/logs/readers_and_writer.log

The writer notes which passages there are after every commit, the readers which state they searched
and what they found. In the end every answer is held to a brute force over that state.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from shortlist import BiEncoder, Passage, RetrieveRerankPipeline
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline.verify import faults_of

WORDS = ("river", "ice", "tea", "leaf", "bee", "dance", "cello", "string", "light", "chess", "king")
QUESTIONS = ["ice on a river", "a dance of bees", "tea leaves", "strings of a cello", "the king"]
MODEL = "shortlist-static-v1"
TOP_K = 20


def passage(number: int, version: int) -> Passage:
    chosen = random.Random(f"{number} {version}").choices(WORDS, k=12)  # noqa: S311
    return Passage(f"p{number}", f"{' '.join(chosen)} {number} {version}")


def write(path: Path, log: Path, seconds: float) -> None:
    """Change an index until the time is over; a line for every commit."""
    writer_module.ROWS_PER_SEGMENT = 300
    pipeline = RetrieveRerankPipeline.open(path)
    texts = {p.id: p.text for p in pipeline.index.all_passages()}
    publish = writer_module.IndexWriter._publish
    chance = random.Random(7)  # noqa: S311
    done: Counter[str] = Counter()
    with log.open("w") as lines:

        def noted(self, records, changes):
            publish(self, records, changes)
            state = {p.id: p.text for p in self.index.all_passages()}
            lines.write(json.dumps([self.index.manifest.commit, state]) + "\n")

        writer_module.IndexWriter._publish = noted
        next_number, version = len(texts), 1
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            verb = chance.choice(["add", "add", "upsert", "delete", "delete", "compact"])
            if verb == "add":
                count = chance.randint(1, 40)
                new = [passage(n, 0) for n in range(next_number, next_number + count)]
                pipeline.add(new)
                next_number += count
            elif verb == "upsert":
                pipeline.upsert([passage(chance.randrange(next_number), version)])
                version += 1
            elif verb == "delete":
                there = sorted(pipeline.index.ids())
                pipeline.delete(chance.sample(there, min(len(there) // 4, chance.randint(1, 40))))
            else:
                pipeline.compact()
            done[verb] += 1
    print("writer:", json.dumps(done))


def read(path: Path, log: Path, seconds: float) -> None:
    """Search until the time is over; a line for every answer."""
    pipeline = RetrieveRerankPipeline.open(path)
    chance = random.Random(str(log))  # noqa: S311
    end = time.monotonic() + seconds
    with log.open("w") as lines:
        while time.monotonic() < end:
            if chance.random() < 0.1:
                pipeline = RetrieveRerankPipeline.open(path)
            pipeline.refresh()
            question = chance.choice(QUESTIONS)
            hits = pipeline.search(question, top_k=TOP_K, rerank=False)
            answer = [[hit.id, hit.text, hit.score] for hit in hits]
            lines.write(json.dumps([pipeline.index.manifest.commit, question, answer]) + "\n")
    print("reader: no error")


def check(states: dict[int, dict[str, str]], answers: list[list]) -> Counter[str]:
    """Whether each answer is the best of the passages of its state."""
    encoder = BiEncoder.load(MODEL)
    texts = sorted({text for state in states.values() for text in state.values()})
    row = {text: number for number, text in enumerate(texts)}
    embeddings = encoder.encode_passages(texts).astype(np.float64)
    scores = {q: embeddings @ encoder.encode_queries([q])[0] for q in QUESTIONS}
    found: Counter[str] = Counter()
    for commit, question, answer in answers:
        state = states[commit]
        best = np.sort([scores[question][row[text]] for text in state.values()])[::-1][:TOP_K]
        right = (
            len(answer) == min(TOP_K, len(state))
            and all(state.get(name) == text for name, text, _ in answer)
            and np.allclose([score for *_, score in answer], best, atol=1e-6)
        )
        found["answers of a committed state" if right else "WRONG"] += 1
    found["states that were searched"] = len({commit for commit, *_ in answers})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--role", choices=["write", "read"])
    parser.add_argument("--index", type=Path)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    if args.role:
        (write if args.role == "write" else read)(args.index, args.log, args.seconds)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = RetrieveRerankPipeline.build(
            [passage(n, 0) for n in range(500)], folder / "x.idx", preset="fast"
        )
        first = built.index.manifest.commit, {p.id: p.text for p in built.index.all_passages()}
        command = [sys.executable, __file__, "--index", str(folder / "x.idx")]
        command += ["--seconds", str(args.seconds), "--role"]
        roles = [("write", folder / "writer"), ("read", folder / "one"), ("read", folder / "two")]
        processes = [
            subprocess.Popen([*command, role, "--log", str(log)], text=True) for role, log in roles
        ]
        codes = [process.wait() for process in processes]
        states = dict([first])
        states |= dict(map(json.loads, (folder / "writer").open()))
        answers = [json.loads(line) for _, log in roles[1:] for line in log.open()]
        found = check(states, answers)
        print(f"{len(states)} committed states in {args.seconds:.0f} s;", json.dumps(found))
        faults = faults_of(folder / "x.idx", BiEncoder.load(MODEL))
        print("the index is whole" if not faults else f"DAMAGED: {faults}")
        failed = any(codes) or found["WRONG"] or faults
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
