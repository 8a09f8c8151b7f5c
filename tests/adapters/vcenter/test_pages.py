"""Property updates read without disks and controllers tell of networks what pyVmomi's whole reading tells."""

from __future__ import annotations

import io
from typing import Any
from xml.parsers.expat import ExpatError

import pytest
from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapter

from isthmus.adapters.vcenter import feed
from isthmus.adapters.vcenter.nics import Card, cards
from isthmus.adapters.vcenter.pages import WAIT, UpdateSet, updates
from isthmus.model.faults import Retry
from lab.vcenter import Fault
from lab.vcenter.faults import Drop, Unavailable
from tests.adapters.vcenter.answers import VERSION, answer
from tests.adapters.vcenter.bench import Bench

STUB = SoapStubAdapter(host="vc", version=VERSION)
DISK = (
    '<VirtualDevice xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:type="VirtualDisk"><key>2000</key><backing'
    ' xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>&lt;a&gt;</fileName>'
    "<diskMode>persistent</diskMode></backing><capacityInKB>1</capacityInKB></VirtualDevice>"
)
CONTROLLER = '<VirtualDevice xsi:type="ParaVirtualSCSIController"><key>1000</key></VirtualDevice>'


def card(kind: str, key: int) -> str:
    return (
        f'<VirtualDevice xsi:type="{kind}"><key>{key}</key><deviceInfo><label>card {key}</label><summary>s</summary>'
        '</deviceInfo><backing xsi:type="VirtualEthernetCardDistributedVirtualPortBackingInfo"><port><switchUuid>u'
        f"</switchUuid><portKey>{key}</portKey><portgroupKey>dvportgroup-9</portgroupKey></port></backing><macAddress>00:50:56:00:00:0a</macAddress></VirtualDevice>"
    )


def page(*devices: str) -> bytes:
    return answer(
        '<WaitForUpdatesExResponse xmlns="urn:vim25"><returnval><version>7</version><filterSet>'
        '<filter type="PropertyFilter">f</filter><objectSet><kind>enter</kind><obj type="VirtualMachine">vm-1</obj>'
        "<changeSet><name>config.hardware.device</name><op>assign</op>"
        f'<val xsi:type="ArrayOfVirtualDevice">{"".join(devices)}</val></changeSet>'
        '<changeSet><name>name</name><op>assign</op><val xsi:type="xsd:string">a &lt;b&gt;</val></changeSet>'
        "</objectSet></filterSet></returnval></WaitForUpdatesExResponse>"
    )


def whole(data: bytes) -> Any:
    return SoapResponseDeserializer(STUB).Deserialize(io.BytesIO(data), WAIT.result)


def meant(told: Any) -> Any:
    """A page in words that do not depend on who read it; of devices only what is kept of them."""
    if told is None:
        return None
    found = [
        (str(update.kind), repr(update.obj), [(c.name, str(c.op), value(c.val)) for c in update.changeSet])
        for seen in told.filterSet
        for update in seen.objectSet
    ]
    return told.version, bool(told.truncated), found


def value(told: Any) -> Any:
    if isinstance(told, list) and all(isinstance(one, Card | vim.vm.device.VirtualDevice) for one in told):
        return cards(told)
    return str(told) if isinstance(told, str) else repr(told)


CARDS = ("VirtualVmxnet3", "VirtualE1000", "VirtualSriovEthernetCard", "VirtualVmxnet3Vrdma")
PLAIN = page(CONTROLLER, DISK, *(card(kind, 4000 + number) for number, kind in enumerate(CARDS)), CONTROLLER)
BACKING = '<backing xsi:type="VirtualEthernetCardDistributedVirtualPortBackingInfo">'
VARIED = {
    "every kind of card": (PLAIN, True),
    "more to come": (PLAIN.replace(b"</filterSet>", b"</filterSet><truncated>true</truncated>"), True),
    "gone": (PLAIN.replace(b"<kind>enter", b"<kind>leave"), True),
    "taken back": (PLAIN.replace(b'<val xsi:type="xsd:string">a &lt;b&gt;</val>', b""), True),
    "no name": (PLAIN.replace(b"a &lt;b&gt;</val>", b"</val>"), True),
    "a flag": (PLAIN.replace(b"xsd:string", b"xsd:boolean").replace(b"a &lt;b&gt;", b"false"), True),
    "a host": (PLAIN.replace(b'xsi:type="xsd:string"', b'xsi:type="ManagedObjectReference" type="HostSystem"'), True),
    "powered on": (
        PLAIN.replace(b"xsd:string", b"VirtualMachinePowerState").replace(b"a &lt;b&gt;", b"poweredOn"),
        True,
    ),
    "connected": (
        PLAIN.replace(b"<macAddress>", b"<connectable><connected>true</connected></connectable><macAddress>"),
        True,
    ),
    "unplugged": (
        PLAIN.replace(b"<macAddress>", b"<connectable><connected>0</connected></connectable><macAddress>"),
        True,
    ),
    "half a MAC": (PLAIN.replace(b"00:50:56:00:00:0a", b"00:50"), True),
    "no port yet": (
        PLAIN.replace(b"<portKey>", b"<connectionCookie>").replace(b"</portKey>", b"</connectionCookie>"),
        True,
    ),
    "on a standard switch": (
        PLAIN.replace(BACKING.encode(), b'<backing xsi:type="VirtualEthernetCardNetworkBackingInfo">')
        .replace(b"<port><switchUuid>", b"<deviceName>")
        .replace(b"</switchUuid><portKey>400", b"</deviceName><!-- ")
        .replace(b"</port>", b" -->"),
        True,
    ),
    "an opaque network": (
        PLAIN.replace(BACKING.encode(), b'<backing xsi:type="VirtualEthernetCardOpaqueNetworkBackingInfo">')
        .replace(b"<port><switchUuid>", b"<opaqueNetworkId>")
        .replace(b"</switchUuid><portKey>400", b"</opaqueNetworkId><!-- ")
        .replace(b"</port>", b" -->"),
        False,
    ),
    "a list of names": (PLAIN.replace(b"xsd:string", b"ArrayOfString").replace(b"a &lt;b&gt;", b""), False),
    "part of a card": (
        PLAIN.replace(b'<val xsi:type="xsd:string">a &lt;b&gt;</val>', f"<val{BACKING[8:]}</val>".encode()),
        False,
    ),
    "not to be read": (
        PLAIN.replace(
            b"</objectSet>",
            b'<missingSet><path>name</path><fault><fault xsi:type="NotAuthenticated"><object type="Folder">f</object>'
            b"<privilegeId>x</privilegeId></fault></fault></missingSet></objectSet>",
        ),
        False,
    ),
}


@pytest.mark.parametrize(("data", "plain"), VARIED.values(), ids=VARIED.keys())
def test_a_page_means_what_pyvmomi_reads_in_it(data: bytes, plain: bool) -> None:
    told, theirs = updates(io.BytesIO(data), STUB), whole(data)
    assert meant(told) == meant(theirs)
    assert isinstance(told, UpdateSet) is plain, "what is not plain is pyVmomi's"
    missing = [[type(one.fault) for one in found.missingSet] for found in told.filterSet[0].objectSet]
    assert missing == [[type(one.fault) for one in found.missingSet] for found in theirs.filterSet[0].objectSet]


def test_only_network_adapters_are_kept_of_a_vms_devices() -> None:
    [devices, name] = updates(io.BytesIO(PLAIN), STUB).filterSet[0].objectSet[0].changeSet
    assert devices.val == [
        Card(key, "00:50:56:00:00:0a", "u", "dvportgroup-9", str(key), label=f"card {key}") for key in range(4000, 4004)
    ]
    assert name.val == "a <b>"


@pytest.mark.parametrize("devices", [(), (DISK,), (CONTROLLER, DISK)], ids=len)
def test_a_vm_without_network_adapters_has_none(devices: tuple[str, ...]) -> None:
    told = updates(io.BytesIO(page(*devices)), STUB)
    assert list(told.filterSet[0].objectSet[0].changeSet[0].val) == []


def test_what_stands_within_a_disk_is_passed_over_with_it_whatever_its_name() -> None:
    nested = DISK.replace("<diskMode>", f"{DISK}<VirtualDevice/><diskMode>")
    data = page(nested, card("VirtualVmxnet3", 4000), nested)
    assert [one.key for one in updates(io.BytesIO(data), STUB).filterSet[0].objectSet[0].changeSet[0].val] == [4000]


def test_no_news_is_none() -> None:
    empty = answer('<WaitForUpdatesExResponse xmlns="urn:vim25"></WaitForUpdatesExResponse>')
    assert updates(io.BytesIO(empty), STUB) is None


def test_a_device_of_unknown_kind_is_left_to_pyvmomi() -> None:
    data = page(DISK.replace("VirtualDisk", "VirtualNovelty"))
    with pytest.raises(KeyError):
        whole(data)
    with pytest.raises(KeyError):
        updates(io.BytesIO(data), STUB)


def test_updates_cut_off_anywhere_are_a_failed_read() -> None:
    data = page(CONTROLLER, DISK, card("VirtualVmxnet3", 4000), DISK)
    for length in range(len(data)):
        with pytest.raises(ExpatError):
            updates(io.BytesIO(data[:length]), STUB)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What the feed was told and what pyVmomi makes of the same bytes, answer by answer."""
    pairs: list[tuple[Any, Any]] = []

    def both(source: Any, stub: Any) -> Any:
        data = b"".join(iter(lambda: source.read(1000), b""))
        theirs = SoapResponseDeserializer(stub).Deserialize(io.BytesIO(data), WAIT.result)
        pairs.append((updates(io.BytesIO(data), stub), theirs))
        return pairs[-1][0]

    monkeypatch.setattr("isthmus.adapters.vcenter.pages.updates", both)
    return pairs


@pytest.mark.sim
def test_what_a_vcenter_tells_reads_as_pyvmomi_reads_it(bench: Bench, heard: list[tuple[Any, Any]]) -> None:
    vcenter = bench.again()
    try:
        before = vcenter.inventory.read()
        red = next(group._GetMoId() for group in bench.operator.all(feed.vim.dvs.DistributedVirtualPortgroup))
        nic = bench.operator.make_vm("new", "esx1", red)
        bench.operator.move(bench.operator.vm(nic), "esx2")
        vcenter.inventory.read()
        bench.operator.rename(bench.operator.vm(nic), "a <b> & %2f")
        assert nic in vcenter.inventory.read().nics
        bench.operator.remove(bench.operator.vm(nic))
        assert vcenter.inventory.read().nics == before.nics
    finally:
        vcenter.close()
    assert [meant(ours) for ours, _ in heard] == [meant(theirs) for _, theirs in heard]
    assert {isinstance(ours, UpdateSet) for ours, _ in heard if ours is not None} == {True, False}


@pytest.mark.sim
@pytest.mark.parametrize("spoilt", [Drop(), Unavailable(3), Fault("HostCommunication")], ids=str)
def test_updates_that_fail_are_a_retry_and_the_next_read_is_whole(bench: Bench, spoilt: Any) -> None:
    before = bench.vcenter.inventory.read()
    with bench.simulator.faults.during(spoilt, method="WaitForUpdatesEx"), pytest.raises(Retry):
        bench.vcenter.inventory.read()
    assert bench.vcenter.inventory.read().nics == before.nics


@pytest.mark.sim
def test_a_collector_version_that_vcenter_forgot_is_told_by_class(bench: Bench) -> None:
    before = bench.vcenter.inventory.read()
    rule = bench.simulator.faults.add(Fault("InvalidCollectorVersion"), method="WaitForUpdatesEx", count=1)
    assert bench.vcenter.inventory.read() == before
    assert bench.simulator.faults.struck(rule) == 1
    assert issubclass(vmodl.query.InvalidCollectorVersion, vmodl.MethodFault)
