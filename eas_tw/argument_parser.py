"""An `argparse` parser whose errors name the expected kind of number, for `eas-tw` and the simulator's command line."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports `must be a whole number, got 'x'` for a wrong `int`; its subparsers do the same."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.register("type", int, partial(_number, int, "a whole number"))
        self.register("type", float, partial(_number, float, "a number"))


def _number(kind: type[float], name: str, text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {name}, got {text!r}") from None
