"""Where Neutron's own agent runs on the appliances: what the configuration must say, and what a shard then is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.adapters.ovs import PluggerTarget
from isthmus.app.placing import Placing
from isthmus.app.settings import load
from isthmus.app.wiring import wire
from isthmus.model.faults import Refused
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import ClusterId, DvsId, HostId
from isthmus.model.observed import TargetId

GOOD = """
installation = "test"
[vcenter.vc]
url = "https://vc.example/sdk"
user = "u"
password_env = "P"
[intent.neutron]
url_env = "BUS"
[deployment.lab]
design = "ovsvapp-port"
dvs = "tenant"
vids = "100-199"
[deployment.lab.compute."compute-1"]
host = "esx1"
[deployment.lab.compute."compute-2"]
host = "esx2"
[deployment.lab.appliance]
trunk = "eth1"
[deployment.lab.host."esx1"]
vtep = "192.0.2.1"
ovsdb = "unix:/run/one/db.sock"
[deployment.lab.host."esx2"]
vtep = "192.0.2.2"
ovsdb = "unix:/run/two/db.sock"
"""
SECRETS = {"P": "x", "BUS": "fake:///"}
ONE, TWO = (Host(HostId(f"vc/h{n}"), f"esx{n}", cluster=ClusterId(f"vc/c{n}")) for n in (1, 2))
TENANT = Dvs(DvsId("d"), "tenant", 1600, frozenset({ONE.id, TWO.id}))


def placing(tmp_path: Path) -> Placing:
    file = tmp_path / "isthmus.toml"
    file.write_text(GOOD)
    config = load(file, SECRETS).config
    return Placing(config, "lab", config.deployment["lab"])


def inventory(*hosts: Host) -> Inventory:
    return Inventory({host.id: host for host in hosts}, {TENANT.id: TENANT}, {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '[intent.neutron]\nurl_env = "BUS"',
            '[intent]\nfile = "x"',
            "does not take its networks from there: say [intent.neutron]",
        ),
        ('host = "esx2"', "", "'host' is missing: a Neutron agent is of one host"),
        ('host = "esx2"', 'host = "esx1"', "'esx1' is that of 'compute-1' already"),
        ('host = "esx2"', 'host = "esx1"', "no nova-compute stands for it"),
        ('host = "esx2"', 'host = "esx9"', 'there is no [deployment.lab.host."esx9"] table'),
        ('trunk = "eth1"', 'trunk = "eth1"\nvxlan_port = 8472', "the Neutron agent's own business"),
        ("unix:/run/two/db.sock", "ssl:192.0.2.2:6640", 'say unix:/absolute/path there, and serve = "here"'),
        ("unix:/run/two/db.sock", "tcp:192.0.2.2:6640", "reads its agent's flows"),
        ("unix:/run/two/db.sock", "unix:/", "neither unix:/absolute/path nor ssl:host:port"),
        ("unix:/run/two/db.sock", "unix:/run/one/two.sock", "have their sockets in /run/one"),
        ('trunk = "eth1"', 'trunk = "eth1"\nrundir = "/run/openvswitch"', "have their sockets in /run/openvswitch"),
        ('design = "ovsvapp-port"', 'design = "ovsvapp"', "does not need to know which ESXi host it stands for"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    (tmp_path / "isthmus.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(Refused) as refused:
        load(tmp_path / "isthmus.toml", SECRETS)
    assert said in str(refused.value)


SSL = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "u"
password_env = "P"
[intent]
file = "x"
[deployment.lab]
design = "ovsvapp"
dvs = "tenant"
vids = "100-199"
[deployment.lab.appliance]
trunk = "eth1"
tls = { key = "k", certificate = "c", ca = "a" }
openflow = { br-int = "ssl:192.0.2.1:6651", br-tun = "ssl:192.0.2.1:6652" }
[deployment.lab.host."esx1"]
vtep = "192.0.2.1"
ovsdb = "ssl:192.0.2.1:6640"
[deployment.lab.host."esx2"]
vtep = "192.0.2.2"
ovsdb = "ssl:192.0.2.2:6640"
"""
OWN = 'ovsdb = "ssl:192.0.2.2:6640"\nopenflow = { br-int = "ssl:192.0.2.2:6651", br-tun = "ssl:192.0.2.2:6652" }'


def test_two_appliances_whose_flows_would_be_written_to_one_switch_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.toml"
    file.write_text(SSL)
    with pytest.raises(Refused, match=r"esx2.*openflow.*6651 is where a bridge of 'lab/esx1' is reached"):
        load(file, SECRETS)
    file.write_text(SSL.replace('ovsdb = "ssl:192.0.2.2:6640"', OWN))
    load(file, SECRETS)
    # A directory of sockets says nothing where flows are written elsewhere.
    file.write_text(SSL.replace('ovsdb = "ssl:192.0.2.2:6640"', OWN).replace('"eth1"', '"eth1"\nrundir = "/run/x"'))
    load(file, SECRETS)


@pytest.mark.parametrize("design", ["ovsvapp-port", "ovsvapp"])
def test_flows_are_read_and_written_beside_the_database_that_a_host_names(tmp_path: Path, design: str) -> None:
    text = GOOD
    if design == "ovsvapp":
        text = text.replace("ovsvapp-port", design).replace('host = "esx1"\n', "").replace('host = "esx2"\n', "")
    file = tmp_path / "isthmus.toml"
    file.write_text(text)
    wiring = wire(load(file, SECRETS), lambda: 0.0)
    targets = [wiring.ovs(wiring.config.deployment["lab"], host) for host in (ONE, TWO)]
    assert [str(target._settings.rundir) for target in targets] == ["/run/one", "/run/two"]


def test_a_nova_compute_with_the_name_of_an_esxi_host_is_refused_where_that_host_has_a_vtep_of_its_own(
    tmp_path: Path,
) -> None:
    mine = GOOD.replace("ovsvapp-port", "ovsvapp").replace('host = "esx1"\n', "").replace('host = "esx2"\n', "")
    file = tmp_path / "isthmus.toml"
    file.write_text(mine)
    load(file, SECRETS)
    file.write_text(mine.replace('compute."compute-1"', 'compute."esx1"'))
    with pytest.raises(Refused, match=r'compute."?esx1.*is an ESXi host, too'):
        load(file, SECRETS)


def test_a_shard_plugs_in_at_its_hosts_appliance(tmp_path: Path) -> None:
    found = placing(tmp_path)
    shard = found.tags("esx1", inventory(ONE, TWO)).shard
    assert set(shard.nves.values()) == {TargetId("stock-ovs", ONE.id)}
    wiring = wire(load(tmp_path / "isthmus.toml", SECRETS), lambda: 0.0)
    target = wiring.ovs(found.deployment, ONE)
    assert isinstance(target, PluggerTarget)
    assert target.id == TargetId("stock-ovs", ONE.id)


def test_hosts_of_one_cluster_are_refused_since_its_nova_compute_stands_for_all_of_them(tmp_path: Path) -> None:
    found, together = placing(tmp_path), replace(TWO, cluster=ONE.cluster)
    with pytest.raises(Refused, match=r"in one cluster with esx2.*needs a cluster, and a nova-compute, for each"):
        found.tags("esx1", inventory(ONE, together))
    alone = replace(ONE, cluster=None)
    assert found.tags("esx1", inventory(alone, replace(TWO, cluster=None))).shard.hosts == {ONE.id}
