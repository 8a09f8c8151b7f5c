"""Port groups read from the XML are those that pyVmomi reads from the same bytes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pyVmomi import SoapAdapter, VmomiSupport, vim
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapter

from isthmus.adapters.vcenter.groups import GroupConfig, group_config
from isthmus.adapters.vcenter.pages import RETRIEVE, Rich, fetched_page
from isthmus.adapters.vcenter.reading import properties
from isthmus.model.observed import PrivateVlan
from isthmus.model.tags import Vid
from tests.adapters.vcenter.answers import NAMESPACES, VERSION, answer
from tests.adapters.vcenter.bench import Bench
from tests.lab.vcenter.client import OPEN_POLICY, override_policy

Switch = vim.dvs.VmwareDistributedVirtualSwitch
Setting = Switch.VmwarePortConfigPolicy
PortGroup = vim.dvs.DistributedVirtualPortgroup
STUB = SoapStubAdapter(host="vc", version=VERSION)
ON, OFF = vim.BoolPolicy(value=True, inherited=False), vim.BoolPolicy(value=False, inherited=True)
SECURITY = Switch.SecurityPolicy(forgedTransmits=ON, allowPromiscuous=ON)
LEARNING = Switch.MacLearningPolicy(enabled=True, allowUnicastFlooding=True)
NONE = override_policy()
FULL = override_policy(**OPEN_POLICY)
RANGES = [vim.NumericRange(start=0, end=0), vim.NumericRange(start=100, end=199)]
VARIED: dict[str, dict[str, Any]] = {
    "bare": {},
    "uplink": {"uplink": True, "defaultPortConfig": Setting(vlan=Switch.TrunkVlanSpec(vlanId=RANGES), blocked=OFF)},
    "closed": {"policy": FULL, "defaultPortConfig": Setting(vlan=Switch.VlanIdSpec(vlanId=0), blocked=ON)},
    "tagged": {"defaultPortConfig": Setting(vlan=Switch.VlanIdSpec(vlanId=12), securityPolicy=SECURITY)},
    "private": {"defaultPortConfig": Setting(vlan=Switch.PvlanSpec(pvlanId=300))},
    "learning": {
        "defaultPortConfig": Setting(
            securityPolicy=SECURITY,
            macManagementPolicy=Switch.MacManagementPolicy(forgedTransmits=False, macLearningPolicy=LEARNING),
        )
    },
    "few": {
        "defaultPortConfig": Setting(
            macManagementPolicy=Switch.MacManagementPolicy(
                macLearningPolicy=Switch.MacLearningPolicy(
                    enabled=True, allowUnicastFlooding=False, limit=0, limitPolicy="DROP"
                )
            )
        )
    },
    "learning as usual": {
        "defaultPortConfig": Setting(
            macManagementPolicy=Switch.MacManagementPolicy(macLearningPolicy=Switch.MacLearningPolicy(enabled=True))
        )
    },
    "plain": {"defaultPortConfig": vim.dvs.DistributedVirtualPort.Setting(blocked=ON), "type": "ephemeral"},
    "marked": {"description": "isthmus/1 owner=o network=<n> vni=5\r\n & \u202e", "name": "a%2fb <b>"},
}


def config(**what: Any) -> Any:
    least = {"key": "dvportgroup-1", "name": "n", "type": "earlyBinding", "configVersion": "7", "numPorts": 8}
    return PortGroup.ConfigInfo(**{**least, "policy": NONE, **what})


def page(config: Any) -> bytes:
    field = VmomiSupport.Object(name="val", type=object, version=VERSION, flags=0)
    val = SoapAdapter.Serialize(config, field, VERSION, dict(NAMESPACES))
    text = val.decode() if isinstance(val, bytes) else val
    return answer(
        '<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><objects>'
        f'<obj type="DistributedVirtualPortgroup">dvportgroup-1</obj><propSet><name>config</name>{text}</propSet>'
        "</objects></returnval></RetrievePropertiesExResponse>"
    )


@pytest.mark.parametrize("name", VARIED)
def test_a_port_group_reads_the_same_either_way(name: str) -> None:
    data = page(config(**VARIED[name]))
    [lean] = fetched_page(io.BytesIO(data), STUB, RETRIEVE).objects
    [whole] = SoapResponseDeserializer(STUB).Deserialize(io.BytesIO(data), RETRIEVE.result).objects
    assert isinstance(lean.propSet[0].val, GroupConfig), "read without pyVmomi"
    assert lean.propSet[0].val == group_config(whole.propSet[0].val)


def test_a_vlan_setting_of_an_unknown_kind_is_left_to_pyvmomi() -> None:
    strange = page(config(defaultPortConfig=Setting(vlan=Switch.PvlanSpec(pvlanId=300))))
    [read] = fetched_page(io.BytesIO(strange), STUB, RETRIEVE).objects
    assert group_config(read.propSet[0].val).vlan == PrivateVlan(Vid(300))
    other = strange.replace(b"VmwareDistributedVirtualSwitchPvlanSpec", b"VmwareDistributedVirtualSwitchOtherSpec")
    with pytest.raises(Exception) as unread:  # noqa: PT011 - pyVmomi's own, whatever it is
        fetched_page(io.BytesIO(other), STUB, RETRIEVE)
    assert not isinstance(unread.value, Rich)


@pytest.mark.sim
def test_the_port_groups_of_a_vcenter_read_the_same_either_way(bench: Bench) -> None:
    content = bench.vcenter.session.call(lambda content: content)
    groups = [PortGroup(group._GetMoId(), content.propertyCollector._stub) for group in bench.operator.all(PortGroup)]
    lean = properties(content, groups, {PortGroup: ["config"]}, lean=True)
    whole = properties(content, groups, {PortGroup: ["config"]})
    assert len(lean) == len(groups) > 3
    assert all(isinstance(read["config"], GroupConfig) for read in lean.values())
    assert {group: read["config"] for group, read in lean.items()} == {
        group: group_config(read["config"]) for group, read in whole.items()
    }
