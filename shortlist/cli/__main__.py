"""The command `shortlist`: its verbs, and what an error ends with.

Exit codes: 0 done, 1 something failed, 2 a user's mistake, 130 interrupted.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

import shortlist
from shortlist.errors import ShortlistError

INTERRUPTED = 130

# verb -> the module and the function, or the verbs below it; in the order of the help
VERBS = {
    "index": "index:index",
    "search": "search:search",
    "ask": "ask:ask",
    "serve": "serve:serve",
    "demo": "demo:demo",
    "add": "add:add",
    "upsert": "add:upsert",
    "delete": "delete:delete",
    "sync": "sync:sync",
    "compact": "compact:compact",
    "verify": "verify:verify",
    "repair": "verify:repair",
    "push": "push:push",
    "duplicates": "duplicates:duplicates",
    "rerank": "rerank:rerank",
    "fuse": "fuse:fuse",
    "encode": "encode:encode",
    "evaluate": "evaluate:evaluate",
    "compare": "compare:compare",
    "choose": "choose:choose",
    "calibrate": "calibrate:calibrate",
    "info": "info:info",
    "tune": "tune:tune",
    "check": "check:check",
    "sample": "sample:sample",
    "train": "train:app",
}


class _Commands(Mapping[str, Any]):
    """Verbs that are imported when they are asked for: a search need not wait for what trains."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __getitem__(self, verb: str) -> Any:
        module, _, name = VERBS[verb].partition(":")
        if verb not in self._made:
            found = getattr(importlib.import_module(f"shortlist.cli.{module}"), name)
            if not isinstance(found, typer.Typer):
                function, found = found, typer.Typer(add_completion=False)
                found.command(verb)(function)
            self._made[verb] = get_command(found)
            self._made[verb].name = verb
        return self._made[verb]


class _Group(TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    name="shortlist",
    cls=_Group,
    help="Semantic search in two stages: a bi-encoder makes the shortlist, a cross-encoder picks "
    "the winners.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shortlist {shortlist.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command `shortlist`."""
    run(app)


def run(app: typer.Typer) -> None:
    """Run a command line; every error becomes one line on stderr and an exit code."""
    # Progress bars of libraries that only an export uses would mix with ours.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("shortlist").setLevel(logging.INFO)
    try:
        code = app(standalone_mode=False)
    except ShortlistError as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:  # a mistyped command
        context = getattr(error, "ctx", None)
        message = error.format_message()  # empty where the help was just shown
        hint = f" (see {context.command_path} --help)" if context and message else ""
        _fail(message + hint, 2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        # Whoever read our output has seen enough; nothing is left to say, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if os.environ.get("SHORTLIST_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (set SHORTLIST_DEBUG=1 for the traceback)", 1)
    if code == INTERRUPTED:
        _fail("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    if message:
        typer.echo(f"shortlist: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
