"""The call of a selection, as a balancer gets it."""

from __future__ import annotations

import attrs

from eas_tw.policy.balancing import NO_CALL, CallHeaders, CallInfo

OTHER = {
    "key": "user-7",
    "method": "GET",
    "path": "/v1/models",
    "headers": CallHeaders({"x-tier": "gold"}),
    "attempt": 5,
    "now": 6.0,
    "hold_s": 7.0,
}
"""A value for each field of `CallInfo` that is not its default."""


def test_this_file_has_a_value_for_every_field_of_a_call() -> None:
    missing = {field.name for field in attrs.fields(CallInfo)} - set(OTHER)
    assert not missing, f"{missing}: add a value that is not the default to OTHER in this file"
    assert not [name for name, value in OTHER.items() if value == getattr(NO_CALL, name)]


def test_the_info_of_the_next_attempt_keeps_every_other_field() -> None:
    before = CallInfo(**OTHER)
    after = before.at(9, 10.0)
    lost = {
        name for name, value in OTHER.items() if getattr(after, name) != {"attempt": 9, "now": 10.0}.get(name, value)
    }
    assert not lost, f"{lost}: pass it on in CallInfo.at (eas_tw/policy/balancing.py)"
    assert attrs.asdict(before, recurse=False) == OTHER
