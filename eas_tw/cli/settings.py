"""Settings of the commands: from flags, else from `EAS_…` environment variables, else from a profile in a TOML file."""

from __future__ import annotations

import argparse
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

import eas_tw
from eas_tw import ENDPOINT_TYPE_DEFAULT, ConfigError
from eas_tw.cli.files import read_settings_file
from eas_tw.outer_settings import ENDPOINT_TYPES, NEEDED, SETTINGS, OuterSettings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eas_tw import QueueClient

KEYS = (*SETTINGS, "token_file")


@frozen(kw_only=True)
class Given(OuterSettings):
    """The settings of a command's client; the repr does not contain the token."""

    token_source: str = ""
    """The source of the token, for error messages: a file or `EAS_TOKEN`; empty without a token."""

    def __repr__(self) -> str:
        return f"<Given {self.service} at {self.endpoint}>"

    @property
    def token_advice(self) -> str:
        """The advice for the user if the service rejects the token."""
        if not self.token_source:
            return "no token was sent: set EAS_TOKEN, or give --token-file"
        return f"check that the token in {self.token_source} is the one of {self.service}"

    @property
    def is_gateway(self) -> bool:
        """Whether calls are sent to a gateway, so that there is no list of instances."""
        return self.endpoint_type == ENDPOINT_TYPE_DEFAULT

    def make_queue_client(self, reactor: Any, user: str | None, group: str) -> QueueClient:
        """Create a client of a queue service without calling `init`.

        Args:
            reactor: The Twisted reactor.
            user: The id of the consumer; `None` for a random one.
            group: The group of the consumer.
        """
        return eas_tw.QueueClient(
            self.endpoint,
            self.service,
            token=self.token,
            user=user,
            group=group,
            endpoint_type=self.endpoint_type,
            reactor=reactor,
            config=self.config(),
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all commands share."""
    add = parser.add_argument_group("connection settings").add_argument
    add("--endpoint", metavar="URL", help="the region's VPC endpoint, a gateway, or a simulator (EAS_ENDPOINT)")
    add(
        "--endpoint-type",
        choices=tuple(ENDPOINT_TYPES),
        help="the kind of endpoint (default: direct) (EAS_ENDPOINT_TYPE)",
    )
    add("--service", metavar="NAME", help="service, or group/service (EAS_SERVICE)")
    add("--token-file", metavar="PATH", help="a file with the token (EAS_TOKEN_FILE; the token itself: EAS_TOKEN)")
    add("--token", dest="visible_token", help=argparse.SUPPRESS)  # `read` rejects it, with advice
    add("--timeout-s", metavar="SECONDS", help="the deadline of calls and of discovery (default: 5) (EAS_TIMEOUT_S)")
    add("--retry-times", metavar="N", help="the maximum number of retries of a call (default: 2) (EAS_RETRY_TIMES)")
    add("--trust-roots", metavar="PEM", help="certificate authorities to trust for https (EAS_TRUST_ROOTS)")
    add("--balancer", metavar="NAME", help="wrr (default), p2c, hash, or your own module:class (EAS_BALANCER)")
    add("--config", metavar="FILE.toml", help="a file with profiles (default: ~/.config/eas-tw.toml) (EAS_CONFIG)")
    add("--profile", metavar="NAME", help="the profile, a table of that file (default: default) (EAS_PROFILE)")
    add("-v", "--verbose", action="store_true", help="log to stderr")


def read(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Given:
    """Read and check all settings.

    Args:
        options: The parsed flags.
        environment: The environment variables.

    Raises:
        ConfigError: A setting is missing or wrong; the message contains its name and the ways to set it.
        OSError: A file cannot be read.
    """
    if getattr(options, "visible_token", None) is not None:
        raise ConfigError(
            "--token is not accepted, because other users of this machine can read a command line: use EAS_TOKEN or "
            "--token-file"
        )
    profile = _profile(options, environment)

    def find(key: str) -> tuple[str, Any]:
        found = (getattr(options, key, None), environment.get(f"EAS_{key.upper()}"), profile.get(key))
        name = "--balancer" if key == "balancer" else key
        return name, next((value for value in found if value not in (None, "")), None)

    for key in NEEDED:
        if not find(key)[1]:
            raise ConfigError(f"no {key}: give --{key}, set EAS_{key.upper()}, or write {key} = … into a profile")
    _, token_file = find("token_file")
    named_by_flag = getattr(options, "token_file", None)
    token = environment.get("EAS_TOKEN", "")
    token_source = "EAS_TOKEN" if token else ""
    if token_file and (named_by_flag or not token):
        token, token_source = _token(Path(token_file).expanduser()), token_file
    return Given(token=token, token_source=token_source, **read_settings(find))


def _token(file: Path) -> str:
    try:
        token = read_settings_file(file).strip()
    except UnicodeDecodeError:
        raise ConfigError(f"the token file {file} is not text") from None
    if not token:
        raise ConfigError(f"the token file {file} is empty")
    return token


def _profile(options: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    named = options.config or environment.get("EAS_CONFIG")
    name = options.profile or environment.get("EAS_PROFILE")
    file = Path(named).expanduser() if named else Path("~/.config/eas-tw.toml").expanduser()
    if not named and not file.is_file():
        if name:
            raise ConfigError(
                f"there is no profile {name!r}, because {file} does not exist; --config sets another file"
            )
        return {}
    try:
        tables = tomllib.loads(read_settings_file(file))
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: {error}") from None
    if name and name not in tables:
        raise ConfigError(f"{file} has no table [{name}]; it has {', '.join(tables) or 'none'}")
    profile = tables.get(name or "default", {})
    if not isinstance(profile, dict):
        raise ConfigError(f"{file}: {name or 'default'} must be a table, such as [default], got {profile!r}")
    unknown = sorted(set(profile) - set(KEYS))
    if unknown:
        hint = "; put the token into a separate file, and set token_file to its path" if "token" in unknown else ""
        raise ConfigError(f"{file}: unknown {', '.join(unknown)}; known are {', '.join(KEYS)}{hint}")
    for key in profile:
        is_number = key in SETTINGS and SETTINGS[key].is_number
        if not is_number and not isinstance(profile[key], str):
            raise ConfigError(f"{file}: {key} must be text, got {profile[key]!r}")
    return profile
