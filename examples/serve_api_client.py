"""Ask a running server: the first stage's passages at once, the rescored ones a moment later.

    shortlist serve wikipedia.idx          # in another terminal
    python examples/serve_api_client.py "how do plants make food?"

Nothing but the standard library.
"""

import argparse
import json
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--address", default="http://127.0.0.1:8765")
    parser.add_argument("--token", help="where the server wants one")
    options = parser.parse_args()

    request = Request(f"{options.address}/api/stream?{urlencode({'q': options.question})}")
    if options.token:
        request.add_header("Authorization", f"Bearer {options.token}")
    try:
        with urlopen(request, timeout=60) as response:
            for line in response:
                if line.startswith(b"data: "):
                    show(json.loads(line.removeprefix(b"data: ")))
    except HTTPError as error:
        said = json.loads(error.read())["error"]
        again = error.headers.get("Retry-After")
        raise SystemExit(f"{said}; again in {again} s" if again else said) from error


def show(answer: dict) -> None:
    if "error" in answer:
        raise SystemExit(answer["error"])
    print("the answer" if answer["final"] else "the first stage", answer["ms"])
    for hit in answer["hits"]:
        print(f"  {hit['rank']}. {hit['title'] or hit['id']}: {hit['text'][:90]}")
    if answer["answered"] is False:
        print("  no good answer found")


if __name__ == "__main__":
    main()
