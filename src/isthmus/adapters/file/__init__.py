"""Intent from a declarative file: networks with their VNIs, and, where wanted, ports and foreign peers."""

from isthmus.adapters.file.intent import FileIntent

__all__ = ["FileIntent"]
