"""Histories too rare to be drawn, told outright: each needs many things in a row and once showed a mistake."""

from __future__ import annotations

from tests.core.properties.history import History
from tests.core.properties.setting import Setting


def a_tag_changes_hands_while_its_old_host_is_half_way(setting: Setting) -> None:
    """a is powered off; its host has closed the port and not yet told its NVE; a newcomer elsewhere wants a tag."""
    history = History(setting)
    for name in ("red", "blue"):
        history.add_network(name)
    history.settle()
    history.boot("esx1", 1)
    history.settle()
    history.boot("esx2", 0)
    first, second = (sorted(history.lab.loops).index(name) for name in ("esx1", "esx2"))
    vm = history.lab.vm("a")
    history.lab.vcenter.power(vm.id, False)
    history.deeds += 1
    history.think(first)
    history.act(first, 0)
    history.check()
    for _ in range(3):
        history.think(second)
        history.finish(second)
        history.check()
    history.end()
