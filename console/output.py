"""How the command line speaks: sentences for people on standard error, JSON for scripts on standard output."""

import sys
from typing import NoReturn

import orjson


def fail(sentence: str, *, code: int) -> NoReturn:
    """Say what is wrong and leave with the code."""
    sys.stderr.write(f"duly: {sentence}\n")
    sys.exit(code)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode())
    sys.stdout.write("\n")
