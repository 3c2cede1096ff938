"""The directive `commands`, which documents a command line from its argparse parser.

:::{commands} eas_tw.cli.main:_parser
:::
"""

import argparse
import re
from importlib import import_module

from docutils import nodes
from docutils.parsers.rst import Directive


class Commands(Directive):
    """Make a section for each command, with its usage and its arguments."""

    required_arguments = 1

    def run(self):
        module, _, function = self.arguments[0].partition(":")
        return list(sections(getattr(import_module(module), function)()))


def sections(parser):
    below = [
        each
        for each in parser._actions
        if isinstance(each, argparse._SubParsersAction)
    ]
    if not below:
        yield section(parser)
    for action in below:
        for each in action.choices.values():
            if any(isinstance(a, argparse._SubParsersAction) for a in each._actions):
                yield section(each)
            yield from sections(each)


def section(parser):
    """Make the section of one command. Its name gives its id, as for a heading."""
    made = nodes.section(ids=[nodes.make_id(parser.prog)], names=[parser.prog])
    made += nodes.title(text=parser.prog)
    if parser.description:
        made += prose(parser.description)
    formatter = argparse.HelpFormatter(parser.prog, width=79)
    formatter.add_usage(parser.usage, parser._actions, [], prefix="")
    usage = formatter.format_help().strip()
    made += nodes.literal_block(usage, usage, language="text")
    entries = nodes.definition_list()
    for action in parser._actions:
        shown = action.help != argparse.SUPPRESS and not isinstance(
            action, argparse._SubParsersAction
        )
        if shown:
            entries += entry(action, formatter)
    if entries.children:
        made += entries
    return made


def prose(text):
    """Return a paragraph with the names of options, variables and files as code."""
    paragraph = nodes.paragraph()
    for part in re.split(r"(\B--?[\w-]+|EAS_\w+|~?[\w/.]+\.toml)", text):
        is_code = re.match(r"-|EAS_|.*\.toml$", part)
        paragraph += nodes.literal(part, part) if is_code else nodes.Text(part)
    return paragraph


def entry(action, formatter):
    metavar = formatter._format_args(
        action,
        formatter._metavar_formatter(action, action.dest.upper())(1)[0],
    )
    flags = [f"{flag} {metavar}".strip() for flag in action.option_strings]
    term = nodes.term()
    for number, text in enumerate(flags or [metavar]):
        term += [nodes.Text(", ")] if number else []
        term += nodes.literal(text, text)
    help_text = formatter._expand_help(action) if action.help else ""
    definition = nodes.definition("", prose(help_text))
    return nodes.definition_list_item("", term, definition)


def setup(app):
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
