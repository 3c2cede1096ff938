"""Creation of a cluster's balancer: a built-in balancer by name, or the result of a program's function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw.display import text_of
from eas_tw.policy.guarded import GuardedBalancer
from eas_tw.policy.hash_balancer import HashBalancer
from eas_tw.policy.least_loaded import LeastLoaded
from eas_tw.policy.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from eas_tw.policy.balancing import Balancer
    from eas_tw.policy.guarded import OnFault

    BalancerFactory = Callable[[Random], Balancer]

BALANCERS = ("wrr", "p2c", "hash")
"""The names that `ClientConfig.balancer` takes."""


class BadBalancerError(TypeError):
    """A program's balancer function raised an exception, or returned an object that is not a balancer."""


def make_balancer(given: str | BalancerFactory, rng: Random, *, load_factor: float, on_fault: OnFault) -> Balancer:
    """Create the balancer of a cluster.

    Args:
        given: One of `BALANCERS`, or a function that is called with `rng` and returns a balancer.
        rng: The generator of random numbers for the balancer's choices.
        load_factor: The `load_factor` of a `HashBalancer`; the other balancers ignore it.
        on_fault: The `on_fault` of the `GuardedBalancer` that wraps a program's own balancer; not used for built-in
            balancers.

    Raises:
        BadBalancerError: The program's function raised, or its result lacks the method `update` or `choose`.
    """
    if isinstance(given, str):
        return _BUILT_IN[given](rng, load_factor)
    try:
        made = given(rng)
    except Exception as error:
        raise BadBalancerError(f"balancer {_name(given)} raised {type(error).__name__}: {text_of(error)}") from error
    missing = [name for name in ("update", "choose") if not callable(getattr(made, name, None))]
    if missing:
        raise BadBalancerError(
            f"balancer {_name(given)} returned {type(made).__name__}, which has no method {' and no '.join(missing)}"
        )
    return GuardedBalancer(made, rng, on_fault)


def _name(given: object) -> str:
    return getattr(given, "__qualname__", None) or repr(given)


_BUILT_IN: dict[str, Callable[[Random, float], Balancer]] = {
    "wrr": lambda rng, _: Rotation(rng),
    "p2c": lambda rng, _: LeastLoaded(rng),
    "hash": HashBalancer,
}
