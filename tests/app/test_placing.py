"""A shard on a switch that would carry our VIDs out of the hosts waits, and writes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.app.placing import Placing
from isthmus.app.settings import load
from isthmus.model.faults import Refused
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import DvsId, HostId
from isthmus.model.tags import VidSet

CONFIG = """
installation = "test"
[vcenter.vc]
url = "https://vc.example/sdk"
user = "u"
password_env = "P"
[intent]
file = "intent.yaml"
[deployment.lab]
design = "ovsvapp"
dvs = "tenant"
serve = "all"
vids = "100-199"
[deployment.lab.appliance]
trunk = "eth1"
[deployment.lab.host."esx1"]
vtep = "192.0.2.1"
"""


def test_a_switch_whose_uplinks_carry_tenant_vids_is_not_worked_on(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.toml"
    file.write_text(CONFIG)
    config = load(file, {"P": "x"}).config
    placing = Placing(config, "lab", config.deployment["lab"])
    host, switch = HostId("vc/h1"), Dvs(DvsId("d"), "tenant", 1600, frozenset({HostId("vc/h1")}))
    closed = Inventory({host: Host(host, "esx1")}, {switch.id: switch}, {})
    assert placing.tags("esx1", closed).shard.hosts == {host}
    elsewhere = replace(closed, switches={switch.id: replace(switch, uplink_vids=VidSet.of("1-99"))})
    assert placing.port_groups(elsewhere).shard.switches == (switch.id,)
    open_ = replace(closed, switches={switch.id: replace(switch, uplink_vids=VidSet.of("150-300"))})
    for place in (lambda: placing.tags("esx1", open_), lambda: placing.port_groups(open_)):
        with pytest.raises(Refused, match="uplinks of dvs 'tenant' carry VIDs 150-199 of deployment 'lab'"):
            place()
