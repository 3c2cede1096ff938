"""Every block of code is a file that the tests run, or commands that the tests run."""

from __future__ import annotations

import ast
import builtins
import dis
import json
import re
import textwrap
from importlib.metadata import metadata
from types import CodeType

from tests.docs.pages import EXAMPLES, READMES, ROOT, blocks, pages

CONSOLE = "console"  # its commands run in test_commands.py
SHOWN = {"text", "http", "json", "diff"}  # what is seen, not run
DIRECTIVES = {"{literalinclude}", "{include}", "{image}", "{toctree}", "{eval-rst}", "{commands}"}
UNSEEN = DIRECTIVES - {"{literalinclude}"}  # no code is seen of these
WIDTH = 85
"""Columns of code that furo shows."""


def test_code_is_shown_from_files() -> None:
    """No page has code of its own; the READMEs, which cannot include files, have whole lines of one."""
    files = [textwrap.dedent(path.read_text("utf-8")) for path in EXAMPLES.rglob("*.py")]
    for block in blocks():
        if block.language in SHOWN | DIRECTIVES | {CONSOLE}:
            continue
        assert block.page in READMES, f"{block}: put this {block.language or 'code'} into a file of docs/examples"
        assert any(is_part(block.text, text) for text in files), f"{block}: no file of docs/examples has these lines"


def is_part(excerpt: str, text: str) -> bool:
    """Whether these lines occur in `text` in sequence, with the same indentation."""
    indents = {match[1] for match in re.finditer(rf"^( *){re.escape(excerpt.splitlines()[0])}$", text, re.MULTILINE)}
    return any(f"\n{textwrap.indent(excerpt, indent)}\n" in text for indent in indents)


def test_no_code_is_wider_than_its_page() -> None:
    for block in blocks():
        if block.language not in UNSEEN:
            for line in block.shown.splitlines():
                assert len(line) <= WIDTH, f"{block}: {len(line)} columns are more than {WIDTH}: {line}"


def test_every_name_of_a_snippet_is_made_in_it() -> None:
    made: dict[str, set[str]] = {}
    for block in blocks():
        if block.is_python:
            known = made.setdefault(block.page, set(dir(builtins)))
            bound, used = names(block.shown)
            known |= bound
            assert used <= known, f"{block} does not say where {', '.join(sorted(used - known))} comes from"


def test_a_missing_import_is_found() -> None:
    assert names("async def main(a, *b):\n    c = a\n    print(PredictClient(b, c, d=np.x))") == (
        {"main"},
        {"print", "PredictClient", "np"},
    )
    assert names("@mark\ndef f(x=y) -> z:\n    return [q for q in x]") == ({"f"}, {"mark", "y", "z"})
    assert names("import os.path, a.b as c\nfrom d import e\nc, e, os, g")[1] == {"c", "e", "os", "g"}
    assert names("await client.predict(x)")[1] == {"client", "x"}


def names(code: str) -> tuple[set[str], set[str]]:
    """Return the names that code defines at its top level, and those that it uses without defining them."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = ast.parse(textwrap.dedent(code))
    if any(isinstance(node, ast.Return) for node in tree.body):
        tree = ast.parse(f"def snippet():\n{textwrap.indent(code, ' ')}")
    module = compile(tree, "snippet", "exec", flags=flags, dont_inherit=True)
    used, compiled = set(), [module]
    while compiled:
        found = compiled.pop()
        compiled += [constant for constant in found.co_consts if isinstance(constant, CodeType)]
        used |= {i.argval for i in dis.get_instructions(found) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    made = {i.argval for i in dis.get_instructions(module) if i.opname == "STORE_NAME"} - {"__annotations__"}
    return made, used - {"__name__", "__file__", "__qualname__"}


def test_every_file_is_shown_and_run() -> None:
    shown = "\n".join(path.read_text("utf-8") for path in pages())
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    commands = "\n".join(command for block in blocks() for command in block.commands)
    for path in EXAMPLES.rglob("*.*"):
        if path.suffix in (".py", ".toml"):
            assert f"examples/{path.relative_to(EXAMPLES).as_posix()}" in shown, f"no page shows {path.name}"
            stem, suffix = re.escape(path.stem), re.escape(path.suffix)
            named = re.search(rf'\b{stem}{suffix}\b|"{stem}"', tests) or re.search(rf"[ +]{stem}(:|{suffix})", commands)
            assert named, f"no test runs {path.name}"


def test_what_is_shown_is_there() -> None:
    """Included files exist, JSON is valid, and the new line of a diff is Python that can be imported."""
    for block in blocks():
        if block.language == "{literalinclude}":
            assert block.shown_file.is_file(), block
        if block.language == "json":
            json.loads(block.text)
        if block.language == "diff":
            (new,) = re.findall(r"^\+(.*)$", block.text, re.MULTILINE)
            exec(new)  # noqa: S102


def test_every_extra_that_is_named_is_one() -> None:
    extras = set(metadata("eas-tw").get_all("Provides-Extra", []))
    text = "\n".join(path.read_text("utf-8") for path in pages())
    named = {name for names in re.findall(r"(?:eas-tw|\"\.)\[([\w,-]+)\]", text) for name in names.split(",")}
    assert {"simulator", "scrapy", "prometheus"} <= named <= extras
