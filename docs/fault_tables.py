"""The documentation's tables of fault kinds, made from the tables in the code."""

from simulator.fault_kinds import ON_DISCOVERY, ON_INSTANCES
from simulator.virtual.faults.catalog import GROUPS

UNITS = {"milliseconds": "ms", "microseconds": "µs", "seconds": "s"}
MANY = 8  # from this number on, the page has a separate table of the choices


def instances():
    """Return the table of the faults of instances, in Markdown."""
    return kinds("what happens", ON_INSTANCES)


def discovery():
    """Return the table of the faults of discovery, in Markdown."""
    return kinds("what discovery does", ON_DISCOVERY, ON_INSTANCES)


def queues():
    """Return the table of the faults that act only on queues, in Markdown."""
    found = {name: kind for name, kind in ON_INSTANCES.items() if kind.queue_moment}
    return ["| type | what happens |", "|---|---|"] + [
        f"| `{name}` | {kind.says} |" for name, kind in found.items()
    ]


def groups():
    """Return the table of the fault kinds that the simulation draws, in Markdown."""
    return ["| group | kinds |", "|---|---|"] + [
        f"| {group} | {', '.join(f'`{name}`' for name in found)} |"
        for group, found in GROUPS.items()
    ]


TABLES = {table.__name__: table for table in (instances, discovery, queues, groups)}


def kinds(heading, described, above=None):
    """Return a table of kinds. Attributes that `above` describes are only named."""
    lines = [f"| type | {heading} | attributes |", "|---|---|---|"]
    for name, kind in described.items():
        if above is not None and kind is above.get(name) and kind.attributes:
            text = ", ".join(f"`{each}`" for each in kind.attributes)
            text += ", as on instances"
        else:
            text = "; ".join(attribute(each) for each in kind.attributes.values())
        lines.append(f"| `{name}` | {kind.says} | {text or '–'} |")
    return lines


def attribute(given):
    """Describe an attribute: `` `delay` (ms; default 1000): delay``."""
    measure = []
    if given.unit:
        measure.append(UNITS.get(given.unit, given.unit))
    if given.choices and len(given.choices) < MANY:
        measure.append(f"one of {', '.join(given.choices)}")
    if given.low is not None and given.low > 0:
        measure.append(f"at least {given.low:g}")
    if given.default != "":
        measure.append(f"default {value(given)}")
    noted = f" ({'; '.join(measure)})" if measure else ""
    return f"`{given.name}`{noted}: {given.says}"


def value(given):
    """Return an attribute's default value as text."""
    if given.default is None or isinstance(given.default, bool):
        return {None: "null", True: "true", False: "false"}[given.default]
    if isinstance(given.default, str):
        return given.default if given.choices else f"`{given.default}`"
    if given.unit == "bytes" and given.default and given.default % 2**20 == 0:
        return f"{given.default // 2**20} MiB"
    return f"{given.default:g}"
