"""What trials count is seen when it happens: a sum of nought says something."""

from __future__ import annotations

import pytest

from isthmus.model.change import Change, Forget, Gate, SetDvPort
from isthmus.model.names import NetworkId
from tests.faults.trial import Trial


def test_frames_that_strangers_hear_after_an_event_are_counted_before_anybody_writes() -> None:
    trial = Trial()
    names = trial.furnish("red", "blue")
    trial.port(names[0]).vlan = trial.port(names[1]).vlan
    assert trial.meter.frames_heard_by_strangers == 0
    trial.lab.vcenter.move(trial.lab.vm(names[0]).id, trial.elsewhere(names[0]))
    assert trial.meter.frames_heard_by_strangers > 0


@pytest.mark.parametrize("unread", ["intent", "inventory", "switch", "NVE"])
@pytest.mark.parametrize("taken", ["entries", "traffic", "tag"])
def test_what_is_taken_away_unread_is_counted(taken: str, unread: str) -> None:
    trial = Trial()
    name = trial.furnish("red", "blue")[0]
    port, nve = trial.port(name), trial.lab.nves[trial.lab.vm(name).host]
    (switch,) = (target for target in trial.lab.targets if target.kind == "dvs")
    wanted = [network for network in trial.reads.wanted.networks.values() if network.id == "red"]
    match taken:
        case "entries":
            mine = tuple(entry for entry in nve.entries.values() if entry.vni == wanted[0].vni)
            change = Change(0, nve.id, Forget(mine), "")
        case _:
            gate = Gate.BARE if taken == "tag" else Gate.CLOSE
            (dvs,) = trial.lab.vcenter.switches
            change = Change(0, switch, SetDvPort(dvs, port.key, port.cookie, str(port.version), gate, None), "")
    assert trial.reads.doubts(change) == set()
    trial.reads.failing = {{"switch": str(switch), "NVE": str(nve.id)}.get(unread, unread)}
    sources = unread in ("intent", "inventory")
    assert bool(trial.reads.doubts(change)) == (not sources and (unread, taken) != ("NVE", "traffic"))
    if sources:  # what the intent wants as far as it is remembered follows its VMs, and nothing else goes
        trial.reads.wanted.networks.pop(NetworkId("red"))  # type: ignore[attr-defined]
        assert trial.reads.doubts(change) == {unread}
