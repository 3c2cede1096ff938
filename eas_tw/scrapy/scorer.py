"""What a project says about scoring: which items, how they are sent, and what an answer does to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from itemadapter import ItemAdapter


class Scorer(ABC):
    """Scores items. Subclass it, or write a class with the same three methods; one object is made for each crawl.

    If the class has `from_crawler`, that makes it, as for every component of Scrapy.
    """

    def accepts(self, item: Any) -> bool:  # noqa: ARG002  every item, unless overridden
        """Whether an item is to be scored; one that is not passes as it is."""
        return True

    def encode(self, item: Any) -> Any:
        """What is sent for an item.

        Returns:
            `str`, `bytes`, a request of eas_tw or of the official SDK, or any value that JSON can carry. As it is: the
            item's fields as a JSON object.
        """
        return ItemAdapter(item).asdict()

    @abstractmethod
    def apply(self, item: Any, response: Any) -> Any:
        """Put the answer into an item.

        Args:
            item: The item that was encoded.
            response: What the request makes of the answer; a `StringResponse` for text, bytes and JSON.

        Returns:
            The item that goes on, or `None` for the one given. May raise `DropItem`.
        """
