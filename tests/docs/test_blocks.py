"""Each block of code in the documentation is part of a tested file, or a command that the tests run."""

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

CONSOLE = "console"  # tests/docs/test_commands.py runs the commands of these blocks
SHOWN = {"text", "http", "json", "diff"}  # blocks of output or data, which cannot be run
DIRECTIVES = {"{literalinclude}", "{include}", "{image}", "{toctree}", "{eval-rst}", "{commands}", "{faults}"}
UNSEEN = DIRECTIVES - {"{literalinclude}"}  # directives that show no code
WIDTH = 85
"""Columns of code that fit into a page of the furo theme."""


def test_code_is_shown_from_files() -> None:
    """Pages include code from files. The READMEs cannot include files, so their code must equal lines of an example."""
    files = [textwrap.dedent(path.read_text("utf-8")) for path in EXAMPLES.rglob("*.py")]
    for block in blocks():
        if block.language in SHOWN | DIRECTIVES | {CONSOLE}:
            continue
        assert block.page in READMES, f"{block}: put this {block.language or 'code'} into a file of docs/examples"
        assert any(is_part(block.text, text) for text in files), f"{block}: no file of docs/examples has these lines"


def is_part(excerpt: str, text: str) -> bool:
    """Return whether consecutive lines of `text` equal those of `excerpt`, with any common indentation."""
    indents = {match[1] for match in re.finditer(rf"^( *){re.escape(excerpt.splitlines()[0])}$", text, re.MULTILINE)}
    return any(f"\n{textwrap.indent(excerpt, indent)}\n" in text for indent in indents)


def test_no_code_is_wider_than_its_page() -> None:
    for block in blocks():
        if block.language not in UNSEEN:
            for line in block.shown.splitlines():
                assert len(line) <= WIDTH, f"{block}: {len(line)} columns are more than {WIDTH}: {line}"


def test_a_snippet_defines_or_imports_every_name_that_it_uses() -> None:
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


def test_included_files_json_and_diffs_are_valid() -> None:
    """Included files exist, JSON is valid, and the added line of a diff can be executed."""
    for block in blocks():
        if block.language == "{literalinclude}":
            assert block.shown_file.is_file(), block
        if block.language == "json":
            json.loads(block.text)
        if block.language == "diff":
            (new,) = re.findall(r"^\+(.*)$", block.text, re.MULTILINE)
            exec(new)  # noqa: S102


def test_every_extra_in_the_documentation_exists() -> None:
    extras = set(metadata("eas-tw").get_all("Provides-Extra", []))
    text = "\n".join(path.read_text("utf-8") for path in pages())
    named = {name for names in re.findall(r"(?:eas-tw|\"\.)\[([\w,-]+)\]", text) for name in names.split(",")}
    assert {"simulator", "scrapy", "prometheus"} <= named <= extras
