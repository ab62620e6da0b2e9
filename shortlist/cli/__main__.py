"""The command `shortlist`: its verbs, and what an error ends with.

Exit codes: 0 done, 1 something failed, 2 a user's mistake, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

import shortlist
from shortlist.cli import (
    add,
    ask,
    check,
    choose,
    compact,
    compare,
    delete,
    demo,
    duplicates,
    encode,
    evaluate,
    fuse,
    index,
    info,
    push,
    rerank,
    sample,
    search,
    serve,
    sync,
    train,
    tune,
    verify,
)
from shortlist.errors import ShortlistError

INTERRUPTED = 130

app = typer.Typer(
    name="shortlist",
    help="Semantic search in two stages: a bi-encoder makes the shortlist, a cross-encoder picks "
    "the winners.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("ask")(ask.ask)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("add")(add.add)
app.command("upsert")(add.upsert)
app.command("delete")(delete.delete)
app.command("sync")(sync.sync)
app.command("compact")(compact.compact)
app.command("verify")(verify.verify)
app.command("repair")(verify.repair)
app.command("push")(push.push)
app.command("duplicates")(duplicates.duplicates)
app.command("rerank")(rerank.rerank)
app.command("fuse")(fuse.fuse)
app.command("encode")(encode.encode)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("choose")(choose.choose)
app.command("info")(info.info)
app.command("tune")(tune.tune)
app.command("check")(check.check)
app.command("sample")(sample.sample)
app.add_typer(train.app, name="train")


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
