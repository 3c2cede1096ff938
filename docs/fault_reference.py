"""The directive `faults`, which shows a table of `fault_tables`.

:::{faults} instances
:::
"""

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from fault_tables import TABLES


class Faults(Directive):
    """Make the table that the argument names."""

    required_arguments = 1

    def run(self):
        made = nodes.container()
        lines = StringList(TABLES[self.arguments[0]](), source="fault_tables")
        self.state.nested_parse(lines, self.content_offset, made)
        return made.children


def setup(app):
    app.add_directive("faults", Faults)
    return {"parallel_read_safe": True}
