"""`Scorer`, the base class of a project's scoring rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from itemadapter import ItemAdapter


class Scorer(ABC):
    """The scoring rules of a project: which items are scored, how they are sent, and how a response changes them.

    Subclass it, or write a class with the methods `accepts`, `encode` and `apply`; `key` is optional. One object is
    created for each crawl, with `from_crawler` if the class has it, as for other Scrapy components.
    """

    def accepts(self, item: Any) -> bool:  # noqa: ARG002  every item, unless overridden
        """Return whether an item is to be scored; an item that is not accepted passes unchanged."""
        return True

    def encode(self, item: Any) -> Any:
        """Return the request for an item.

        Returns:
            `str`, `bytes`, a request of eas_tw or of the official SDK, or any value that can be encoded as JSON. The
            default is the item's fields, which are sent as a JSON object.
        """
        return ItemAdapter(item).asdict()

    def key(self, item: Any) -> str | bytes | None:  # noqa: ARG002  no key, unless overridden
        """Return the key of an item's call for the balancer, such as a user's name; `None` for none."""
        return None

    @abstractmethod
    def apply(self, item: Any, response: Any) -> Any:
        """Store the response in an item.

        Args:
            item: The item that was encoded.
            response: The parsed response of the request; a `StringResponse` for text, bytes and JSON.

        Returns:
            The item for the next pipeline; `None` for the given item.

        Raises:
            DropItem: May be raised to drop the item.
        """
