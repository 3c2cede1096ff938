"""The output of the demo: a table that is redrawn in place on a terminal, otherwise one line for each step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.demo.player import Player
    from simulator.timeline import TimelineStep

_SHOWN = 20


class Screen:
    """Shows the progress of a player.

    Args:
        player: The player.
        lost: Called once with the error, if writing to standard output fails.
    """

    def __init__(self, player: Player, lost: Callable[[OSError], None]) -> None:
        self._player = player
        self._lost = lost
        self._is_lost = False
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._line = ""

    def begins(self) -> None:
        """Print the header (`Audience`)."""
        player, scenario = self._player, self._player.scenario
        if scenario.title:
            self._print(f"{scenario.title}\n{scenario.story.rstrip()}\n")
        self._print(
            f"A client polls {player.world.url} every {player.config.poll_interval_s:g} s and calls "
            f"{player.service.name} directly, for {scenario.length_s:g} s.\n"
        )

    def turned(self, step: TimelineStep) -> None:
        """Show a step of the timeline (`Audience`)."""
        self._line = f"{step.at_s:5.1f} s  {step}"
        if not self._live:
            self._print(f"\n{self._line}\n" + "\n".join(self.table()))

    def draw(self) -> None:
        """Redraw the table (`Audience`)."""
        if not self._live:
            return
        lines = [self._line, "", *self.table(), ""]
        up = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        self._print(up + "\n".join(lines))
        self._drawn = len(lines)

    def ended(self) -> None:
        """Print the last state (`Audience`)."""
        if self._live:
            self.draw()
        else:
            self._print("\n" + "\n".join(self.table()))

    def _print(self, text: str) -> None:
        if self._is_lost:
            return
        try:
            print(text, flush=True)
        except OSError as error:
            self._is_lost = True
            self._lost(error)

    def table(self) -> list[str]:
        """Format a table with one row for each instance and one for the calls."""
        client = self._player.client
        counters, known = client.counters, {i.address: i for i in client.instances}
        ejected = {i.address for i in client.ejected}
        rows = [f"{'instance':<30}{'requests':>9}{'failures':>9}{'conns':>7}{'weight':>8}  state"]
        instances = list(self._player.service.instances.values())
        for instance in instances[:_SHOWN]:
            address = f"{instance.ip}:{instance.port}"
            seen = known.get(address)
            note = "" if seen else ", not in the client's list"
            note += ", ejected by the client" if address in ejected else ""
            rows.append(
                f"{instance.id:<30}{counters.attempts[address]:>9}{counters.failures_at[address]:>9}"
                f"{client.connections(seen) if seen else 0:>7}{seen.weight if seen else 0:>8g}"
                f"  {instance.state}{note}"
            )
        if len(instances) > _SHOWN:
            rows.append(f"and {len(instances) - _SHOWN} more")
        account = self._player.account
        rows.append(
            f"calls {self._player.traffic.made}, answered {len(account.calls) - len(account.lost)}, "
            f"lost {len(account.lost)}, retries {counters.retries.total()}; "
            f"the list is {client.discovery.age_s or 0.0:.1f} s old"
        )
        return rows
