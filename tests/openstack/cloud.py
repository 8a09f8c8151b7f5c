"""Neutron 29 in this process: its own ML2 test base, its REST API, SQLite, a message bus in memory.

What this needs is not in isthmus's own environment: these tests carry the marker `openstack`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import neutron  # noqa: F401  first of all: it settles that nothing uses eventlet
import oslo_messaging
from neutron.conf.plugins.ml2.drivers import driver_type
from neutron.db import models_v2, provisioning_blocks
from neutron.db.agents_db import AgentExtRpcCallback
from neutron.db.models.agent import Agent
from neutron.db.models.plugins.ml2 import vlanallocation as vlanalloc
from neutron.db.models.segment import NetworkSegment
from neutron.plugins.ml2 import models
from neutron.services.segments import db as segments_db
from neutron.tests.unit.plugins.ml2 import test_plugin
from neutron_lib import rpc
from neutron_lib.callbacks import resources
from neutron_lib.db import api as db_api
from oslo_config import cfg

from isthmus.adapters.neutron.ml2 import options
from isthmus.adapters.neutron.ml2.answers import Answers
from isthmus.adapters.neutron.packing import unpacked
from isthmus.adapters.neutron.protocol import (
    AGENT_TYPE,
    BINARY,
    CLUSTER,
    NOTIFY_TOPIC,
    REPORTS_TOPIC,
    SERVER_TOPIC,
    VERSION,
    domain_topic,
)
from tests.openstack.database import FileDatabase

COMPUTE = "compute:nova"
DRIVERS = ("isthmus_fabric", "isthmus_vds", "openvswitch", "l2population")
LIVES = 3600
"""Seconds for which an agent that reported once is alive, longer than any page of tests: see `agent_is_dead`."""
DHCP_ENTITY = provisioning_blocks.DHCP_ENTITY


class Keeper:
    """A stand-in for `isthmus run` on the bus: gives out the port groups that it was given, and notes who changed."""

    target = oslo_messaging.Target(version=VERSION)

    def __init__(self) -> None:
        self.port_groups: dict[tuple[str, int], dict[str, str]] = {}
        self.default: dict[str, str] | None = {"dvs_id": "dvs-uuid", "pg_id": "dvportgroup-7"}
        self.asked: list[dict[str, Any]] = []
        self.changes: list[str] = []
        self.woken = 0
        self.before_answer: Callable[[], None] = lambda: None

    def port_group(self, context: Any, **question: Any) -> Mapping[str, str]:
        self.asked.append(question)
        meanwhile, self.before_answer = self.before_answer, lambda: None
        meanwhile()
        found = self.port_groups.get((question["network"], question["vid"]), self.default)
        return found or {"reason": "vCenter is down"}

    def changed(self, context: Any, networks: Sequence[str]) -> None:
        self.changes.extend(networks)
        self.woken += 1

    def heard_of(self, network: str, times: int, within: float = 5.0) -> bool:
        """Whether it was told of the network so often, soon."""
        end = time.monotonic() + within
        while self.changes.count(network) < times and time.monotonic() < end:
            time.sleep(0.02)
        return self.changes.count(network) >= times


class Cloud(test_plugin.Ml2PluginV2TestCase):  # type: ignore[misc]
    """A Neutron with mapping domains rack1 and rack2, and a fabric that is static if a test says so."""

    __test__ = False  # a world, not a test

    def __init__(
        self,
        drivers: Sequence[str],
        ranges: Mapping[str, str],
        domains: Sequence[str],
        static: Sequence[str],
        status: str,
        folder: Path | None,
        between: bool,
        trunks: Path | None,
    ) -> None:
        super().__init__("runTest")
        self._folder = folder
        self._between = between
        self._trunks = trunks
        self._status = status
        self._mechanism_drivers = list(drivers)
        self._ranges = dict(ranges)
        self._domains = list(domains)
        self._static = list(static)
        self.keeper = Keeper()
        self._servers: list[Any] = []

    def runTest(self) -> None:  # noqa: N802  (unittest's name)
        """Nothing: a test drives it from outside."""

    def preSetUp(self) -> None:  # noqa: N802  (Neutron's name)
        options.register()
        cfg.CONF.set_override("domains", self._domains, options.GROUP)
        cfg.CONF.set_override("static_domains", self._static, options.GROUP)
        cfg.CONF.set_override("port_group_wait", 1, options.GROUP)
        cfg.CONF.set_override("live_migration_between_switches", self._between, options.GROUP)
        cfg.CONF.set_override("initial_port_status", self._status, options.GROUP)

    def setup_parent(self) -> None:
        driver_type.register_ml2_drivers_vxlan_opts()
        driver_type.register_ml2_drivers_vlan_opts()
        _set_ranges(self._ranges)
        cfg.CONF.set_override("type_drivers", ["vxlan", "vlan", "flat"], group="ml2")
        cfg.CONF.set_override("project_network_types", ["vxlan"], group="ml2")
        cfg.CONF.set_override("extension_drivers", ["port_security"], group="ml2")
        cfg.CONF.set_override("agent_down_time", LIVES)
        cfg.CONF.set_override("vni_ranges", ["70001:70999"], group="ml2_type_vxlan")
        super().setup_parent()
        # Neutron gives back a network's segments in callbacks that its test base forgets.
        segments_db.subscribe()

    def get_additional_service_plugins(self) -> dict[str, str]:
        return {} if self._trunks is None else {"trunk": "trunk"}

    def setup_coreplugin(self, *arguments: Any, **more: Any) -> None:
        # Nova is told of ports that become ACTIVE, which Neutron's test base has switched off by now.
        cfg.CONF.set_override("notify_nova_on_port_status_changes", True)
        super().setup_coreplugin(*arguments, **more)

    def setUp(self) -> None:
        super().setUp()
        self.told_nova: list[tuple[str, str]] = []
        """(event, port) of what Nova was told."""
        self.plugin.nova_notifier.batch_notifier.queue_event = self._tell_nova
        self._serve_rpc()

    def _tell_nova(self, event: Mapping[str, str] | None) -> None:
        if event is not None:
            self.told_nova.append((event["name"], event["tag"]))

    def _serve_rpc(self) -> None:
        self._serve(SERVER_TOPIC, Answers(fabric="isthmus_fabric" in self._mechanism_drivers))
        self._serve(REPORTS_TOPIC, AgentExtRpcCallback())
        if self._folder is not None:
            return  # a real isthmus answers
        for domain in self._ranges:
            self._serve(domain_topic(domain), self.keeper)
        self._serve(NOTIFY_TOPIC, self.keeper)

    def _setup_database_fixtures(self) -> None:
        if self._trunks is not None:
            fixture = FileDatabase(self._trunks, one_at_a_time=False)
        elif self._folder is not None:
            fixture = FileDatabase(self._folder)
        else:
            super()._setup_database_fixtures()
            return
        self.useFixture(fixture)
        self.engine = fixture.engine

    def _serve(self, topic: str, endpoint: object) -> None:
        self._servers.append(_served(topic, f"test-{topic}", endpoint))

    @contextmanager
    def listening(self, topic: str, host: str, endpoint: object) -> Iterator[None]:
        """A Neutron agent on a host hears what is said to it."""
        server = _served(topic, host, endpoint)
        try:
            yield
        finally:
            server.stop()
            server.wait()

    def silence(self) -> None:
        """neutron-rpc-server is gone; the API goes on."""
        self._stop_serving()

    def speak(self) -> None:
        """It is back."""
        self._serve_rpc()

    def _stop_serving(self) -> None:
        for server in self._servers:
            server.stop()
            server.wait()
        self._servers.clear()

    def close(self) -> None:
        self._stop_serving()
        self.doCleanups()

    # --- what users do --------------------------------------------------------------------------------------------

    def in_domain(self, domain: str, *hosts: str, kind: str = CLUSTER) -> None:
        """`isthmus run` reports hosts of a mapping domain."""
        for host in hosts:
            self.agent(host, AGENT_TYPE, BINARY, {"physical_network": domain, "kind": kind})

    def agent(self, host: str, kind: str, binary: str, configurations: Mapping[str, Any]) -> None:
        """A Neutron agent starts, and reports."""
        state = {
            "agent_type": kind,
            "binary": binary,
            "host": host,
            "topic": "N/A",
            "configurations": dict(configurations),
            "start_flag": True,
        }
        self.plugin.create_or_update_agent(self.context, state, datetime.now(UTC).replace(tzinfo=None))

    def agent_was_heard_of_last(self, host: str, kind: str) -> None:
        """No other agent has reported since that one."""
        with db_api.CONTEXT_WRITER.using(self.context):
            rows = self.context.session.query(Agent).filter_by(host=host, agent_type=kind)
            rows.update({"heartbeat_timestamp": datetime(2100, 1, 1)})

    def domains(self, *names: str) -> None:
        """The operator names these mapping domains, and no others; Neutron was started anew since."""
        cfg.CONF.set_override("domains", list(names), options.GROUP)

    def starts_anew(self, ranges: Mapping[str, str]) -> None:
        """Neutron does, and the operator names these mapping domains with their ranges, and no others."""
        self.domains(*ranges)
        _set_ranges(ranges)
        vlans = self.plugin.type_manager.drivers["vlan"].obj
        vlans.__init__()
        vlans.initialize()
        if "isthmus_fabric" in self._mechanism_drivers:
            self.plugin.mechanism_manager.mech_drivers["isthmus_fabric"].obj.initialize()

    def agent_is_dead(self, host: str, kind: str = AGENT_TYPE) -> None:
        """`isthmus run` has not reported the host, nor its agent of another kind itself, for a long time."""
        with db_api.CONTEXT_WRITER.using(self.context):
            rows = self.context.session.query(Agent).filter_by(host=host, agent_type=kind)
            rows.update({"heartbeat_timestamp": datetime(2020, 1, 1)})

    def agent_is_gone(self, host: str, kind: str) -> None:
        """An operator deletes it (`openstack network agent delete`)."""
        (found,) = self.plugin.get_agents(self.context, {"agent_type": [kind], "host": [host]})
        self.plugin.delete_agent(self.context, found["id"])

    def network_named(self, name: str, **more: Any) -> str:
        """A network's id."""
        return str(self._make_network(self.fmt, name, True, as_admin=True, **more)["network"]["id"])

    def subnet_of(self, network: str, cidr: str) -> None:
        """Give a network addresses, the first of them the gateway's."""
        of = {"network": {"id": network, "project_id": self._project_id}}
        self._make_subnet(self.fmt, of, cidr.replace(".0/", ".1/").partition("/")[0], cidr, as_admin=True)

    def port_on(self, network: str, host: str | None, owner: str = COMPUTE, **more: Any) -> str:
        """A port's id."""
        given = {"device_owner": owner, "device_id": str(uuid.uuid4()), **more}
        if host is not None:
            given["binding:host_id"] = host
        made = self._make_port(self.fmt, network, as_admin=True, is_service=True, arg_list=tuple(given), **given)
        return str(made["port"]["id"])

    def change(self, port: str, **values: Any) -> dict[str, Any]:
        """The port after it was changed."""
        given = {key.replace("binding_", "binding:"): value for key, value in values.items()}
        return dict(self._update("ports", port, {"port": given}, as_admin=True, as_service=True)["port"])

    def bind_elsewhere(self, port: str, host: str) -> dict[str, Any]:
        """A second binding of the port, inactive: as Nova makes it before a live migration."""
        data = {"binding": {"host": host, "project_id": self._project_id}}
        return dict(self._as_nova("POST", f"ports/{port}/bindings", data=data)["binding"])

    def cannot_be_bound_elsewhere(self, port: str, host: str) -> bool:
        """Neutron refuses a second binding: Nova does not begin the live migration then."""
        data = {"binding": {"host": host, "project_id": self._project_id}}
        request = self._service_req("POST", f"ports/{port}/bindings", fmt=self.fmt, data=data)
        return bool(request.get_response(self.api).status_int >= 400)

    def will_move(self, port: str, host: str) -> dict[str, Any]:
        """The port after Nova said, before a live migration, where it goes."""
        told = {"port": {"binding:profile": {"migrating_to": host}}}
        return dict(self._update("ports", port, told, as_service=True)["port"])

    def activate(self, port: str, host: str) -> None:
        """The VM has arrived there."""
        status = self.activated(port, host)
        assert status == 200, status

    def activated(self, port: str, host: str) -> int:
        """What Neutron answers (an HTTP status) to who says that the VM has arrived there."""
        where = {"id": port, "subresource": "bindings", "sub_id": host, "action": "activate"}
        request = self._service_req("PUT", "ports", fmt=self.fmt, data={"port_id": port}, **where)
        return int(request.get_response(self.api).status_int)

    def bindings(self, port: str) -> dict[str, bool]:
        """The hosts that the port has a binding on, each with whether it is the active one."""
        with db_api.CONTEXT_READER.using(self.context):
            rows = self.context.session.query(models.PortBinding).filter_by(port_id=port)
            return {row.host: row.status == "ACTIVE" for row in rows}

    def give_up(self, port: str, host: str) -> None:
        """The migration was rolled back, or is over: the binding goes."""
        self._as_nova("DELETE", "ports", id=port, subresource="bindings", sub_id=host)

    def _as_nova(self, method: str, resource: str, **more: Any) -> dict[str, Any]:
        response = self._service_req(method, resource, fmt=self.fmt, **more).get_response(self.api)
        assert response.status_int < 300, response.body
        return dict(self.deserialize(self.fmt, response)) if response.body else {}

    def trunk_of(self, parent: str, **subports: int) -> tuple[int, dict[str, Any]]:
        """A trunk is asked for, with these subports (by port, the VLAN of each): the HTTP status, and what is said."""
        asked = {"port_id": parent, "project_id": self._project_id, "sub_ports": _tagged(subports)}
        return self._said("POST", "trunks", {"trunk": asked})

    def add_subports(self, trunk: str, **subports: int) -> tuple[int, dict[str, Any]]:
        """More of them, later."""
        return self._said("PUT", "trunks", {"sub_ports": _tagged(subports)}, id=trunk, subresource="add_subports")

    def remove_subports(self, trunk: str, *ports: str) -> None:
        asked = {"sub_ports": [{"port_id": port} for port in ports]}
        status, said = self._said("PUT", "trunks", asked, id=trunk, subresource="remove_subports")
        assert status == 200, said

    def subports(self, trunk: str) -> set[str]:
        """Those that Neutron has for it."""
        _, said = self._said("GET", "trunks", None, id=trunk, subresource="get_subports")
        return {row["port_id"] for row in said["sub_ports"]}

    def _said(self, method: str, resource: str, data: object, **more: Any) -> tuple[int, dict[str, Any]]:
        request = self._admin_req(method, resource, data=data, fmt=self.fmt, **more)
        response = request.get_response(self.api)
        return int(response.status_int), dict(self.deserialize(self.fmt, response))

    def host_of(self, port: str, host: str) -> dict[str, Any]:
        """The port after it was bound to another host (empty: none)."""
        return self.change(port, binding_host_id=host)

    def await_dhcp(self, port: str) -> None:
        """The port shall not be ACTIVE before Neutron's DHCP agent has it, too."""
        provisioning_blocks.add_provisioning_component(self.context, port, resources.PORT, DHCP_ENTITY)

    def dhcp_is_ready(self, port: str) -> None:
        """It has."""
        provisioning_blocks.provisioning_complete(self.context, port, resources.PORT, DHCP_ENTITY)

    def resegment(self, network: str, **columns: Any) -> None:
        """Its one segment is another in the database, and nobody is told."""
        with db_api.CONTEXT_WRITER.using(self.context):
            self.context.session.query(NetworkSegment).filter_by(network_id=network).update(columns)

    def delete(self, what: str, of: str) -> None:
        self._delete(what, of, as_admin=True)

    def forgets(self, network: str) -> None:
        """Its database is an older one, in which the network is not yet; nobody is told."""
        with db_api.CONTEXT_WRITER.using(self.context):
            session = self.context.session
            for segment in session.query(NetworkSegment).filter_by(network_id=network, network_type="vlan"):
                taken = session.query(vlanalloc.VlanAllocation).filter_by(
                    physical_network=segment.physical_network, vlan_id=segment.segmentation_id
                )
                taken.update({"allocated": False})
            session.query(models_v2.Port).filter_by(network_id=network).delete()
            session.query(NetworkSegment).filter_by(network_id=network).delete()
            session.query(models_v2.Network).filter_by(id=network).delete()

    # --- what they see --------------------------------------------------------------------------------------------

    def port(self, port: str) -> dict[str, Any]:
        return dict(self._show("ports", port, as_admin=True)["port"])

    def ports(self, network: str) -> list[dict[str, Any]]:
        """All of a network."""
        return [dict(port) for port in self.plugin.get_ports(self.context, {"network_id": [network]})]

    def vlans(self, network: str) -> dict[str, int]:
        """The network's dynamic VLANs, by mapping domain."""
        with db_api.CONTEXT_READER.using(self.context):
            rows = self.context.session.query(NetworkSegment).filter_by(network_id=network, is_dynamic=True)
            return {row.physical_network: row.segmentation_id for row in rows}

    def segment_ids(self, network: str) -> list[str]:
        with db_api.CONTEXT_READER.using(self.context):
            rows = self.context.session.query(NetworkSegment).filter_by(network_id=network, is_dynamic=True)
            return [row.id for row in rows]

    def levels(self, port: str) -> list[tuple[str, str, str | None]]:
        """Of each level of the port's binding: driver, network type, physical network."""
        with db_api.CONTEXT_READER.using(self.context):
            rows = self.context.session.query(models.PortBindingLevel).filter_by(port_id=port).all()
            found = []
            for row in sorted(rows, key=lambda r: (r.host, r.level)):
                segment = row.segment
                found.append((row.driver, segment.network_type, segment.physical_network))
            return found

    def allocated(self, domain: str) -> set[int]:
        """The VLANs that Neutron counts as taken in a domain."""
        with db_api.CONTEXT_READER.using(self.context):
            rows = self.context.session.query(vlanalloc.VlanAllocation)
            return {row.vlan_id for row in rows.filter_by(physical_network=domain, allocated=True)}

    def in_place(self, *ports: str) -> None:
        """isthmus says that port group and leaf of these are, where they are bound now."""
        self.ask("ready", ports=[self.place_of(port) for port in ports])

    def place_of(self, port: str) -> dict[str, str]:
        """The port, where it is active, and the segment of its bottom level there."""
        with db_api.CONTEXT_READER.using(self.context):
            session = self.context.session
            binding = session.query(models.PortBinding).filter_by(port_id=port, status="ACTIVE").one_or_none()
            host = binding.host if binding else "nowhere"
            levels = session.query(models.PortBindingLevel).filter_by(port_id=port, host=host).all()
            bottom = max(levels, key=lambda level: level.level, default=None)
            return {"id": port, "host": host, "segment": bottom.segment_id if bottom else ""}

    def read(self, network: str) -> list[dict[str, Any]]:
        """What `isthmus run` reads of a network: one row, or none if there is no such network."""
        return [row for row in self.ask("read")["networks"] if row["id"] == network]

    def marks(self) -> dict[str, str]:
        """What our drivers wrote on each VLAN segment."""
        return {row["id"]: row["mark"] for net in self.ask("read")["networks"] for row in net["segments"]}

    def retire(self, *ids: str) -> list[str]:
        """As isthmus does for segments that nothing has referred to for a while."""
        now = self.marks()
        return list(self.ask("retire", unused=[(id_, now[id_]) for id_ in ids]))

    def release(self, *ids: str) -> list[str]:
        """As isthmus does when it has seen that nothing wears what is retiring."""
        now = self.marks()
        return list(self.ask("release", retiring=[(id_, now[id_]) for id_ in ids]))

    def ask(self, method: str, **arguments: Any) -> Any:
        """As `isthmus run` asks the drivers, over the bus."""
        client = rpc.get_client(oslo_messaging.Target(topic=SERVER_TOPIC, version=VERSION))
        answer = client.prepare(timeout=10).call(self.context, method, **arguments)
        return unpacked(answer) if method == "read" else answer


def _tagged(subports: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"port_id": port, "segmentation_type": "vlan", "segmentation_id": vid} for port, vid in subports.items()]


def _served(topic: str, name: str, endpoint: object) -> Any:
    server = rpc.get_server(oslo_messaging.Target(topic=topic, server=name), [endpoint])
    server.start()
    return server


def _set_ranges(ranges: Mapping[str, str]) -> None:
    named = [f"{name}:{vids}" if vids else name for name, vids in ranges.items()]
    cfg.CONF.set_override("network_vlan_ranges", named, group="ml2_type_vlan")


@contextmanager
def cloud(
    drivers: Sequence[str] = DRIVERS,
    ranges: Mapping[str, str] | None = None,
    static: Sequence[str] = (),
    status: str = "BUILD",
    domains: Sequence[str] | None = None,
    folder: Path | None = None,
    between: bool = False,
    trunks: Path | None = None,
) -> Iterator[Cloud]:
    """Neutron, until the block ends.  `folder`: the test runs an isthmus itself, and the database is there.

    `between`: with a Nova that takes the target's port group, so that VMs may be moved between switches.
    `trunks`: with Neutron's trunk plugin, which reads beside what it is writing: the database is there, too.
    """
    ranges = ranges or {"rack1": "101:199", "rack2": "201:299"}
    named = [name for name in ranges if name not in static] if domains is None else domains
    made = Cloud(drivers, ranges, named, static, status, folder, between, trunks)
    try:
        made.setUp()
        yield made
    finally:
        made.close()
