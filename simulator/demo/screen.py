"""What the demo shows: a table redrawn in place on a terminal, one line a step elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.demo.player import Player
    from simulator.timeline import Step

_SHOWN = 20


class Screen:
    """Watches a player."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._line = ""

    def begins(self) -> None:
        """All listens (`Audience`)."""
        player, scenario = self._player, self._player.scenario
        if scenario.title:
            print(f"{scenario.title}\n{scenario.story.rstrip()}\n")
        print(
            f"A client polls {player.world.url} every {player.config.poll_interval_s:g} s and calls "
            f"{player.service.name} directly, for {scenario.length_s:g} s.\n",
            flush=True,
        )

    def turned(self, step: Step) -> None:
        """The story goes on (`Audience`)."""
        self._line = f"{step.at_s:5.1f} s  {step}"
        if not self._live:
            print(f"\n{self._line}\n" + "\n".join(self.table()), flush=True)

    def draw(self) -> None:
        """Show how things stand (`Audience`)."""
        if not self._live:
            return
        lines = [self._line, "", *self.table(), ""]
        up = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        print(up + "".join(f"{line}\n" for line in lines), end="", flush=True)
        self._drawn = len(lines)

    def ended(self) -> None:
        """The last call has ended (`Audience`)."""
        if self._live:
            self.draw()
        else:
            print("\n" + "\n".join(self.table()), flush=True)

    def table(self) -> list[str]:
        """One row an instance, and one for the calls."""
        client = self._player.client
        counters, known = client.counters, {i.address: i for i in client.instances}
        ejected = {i.address for i in client.ejected}
        rows = [f"{'instance':<30}{'requests':>9}{'failures':>9}{'conns':>7}{'weight':>8}  state"]
        instances = list(self._player.service.instances.values())
        for instance in instances[:_SHOWN]:
            address = f"{instance.ip}:{instance.port}"
            seen = known.get(address)
            note = "" if seen else ", not in the client's list"
            note += ", left out by the client" if address in ejected else ""
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
