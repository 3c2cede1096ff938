"""Which connection a call gets, as an exhaustive table of small pools."""

from __future__ import annotations

from itertools import product

from eas_tw.policy.pooling import Plan, plan


def test_every_small_pool() -> None:
    """Over all pools of up to four connections: the plan never exceeds the limit and never leaves a call stranded."""
    for limit, busy, idle, opening, waiting, fresh in product(
        (1, 2, 4), range(5), range(5), range(5), range(4), (False, True)
    ):
        total = busy + idle + opening
        if total > limit:
            continue
        todo = plan(idle=idle, open_or_opening=total, opening=opening, waiting=waiting, limit=limit, fresh=fresh)
        if todo is Plan.REUSE:
            assert idle
            assert not fresh
        elif todo is Plan.CONNECT:
            assert total < limit
        elif todo is Plan.REPLACE:
            assert idle
            assert total == limit
        else:
            assert opening > waiting or busy + opening == limit
