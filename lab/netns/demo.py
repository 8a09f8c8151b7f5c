"""`make demo`: the whole of isthmus at work in a small world, one line for each thing shown."""

from __future__ import annotations


def demo(name: str) -> int:
    raise NotImplementedError(name)
