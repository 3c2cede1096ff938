"""The messages of `queue.proto`, made on first use; the stub beside this is for editors."""

from eas_tw.body.schema import exports

__getattr__ = exports(__name__)
