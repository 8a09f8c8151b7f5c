"""What `isthmus run` asks of Neutron and has done there, in neutron-rpc-server.

Law: every question is answered from one transaction, whole; everything done checks again what it stands on, so that a
question asked twice, late, or by two processes at once does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import oslo_messaging
from neutron.agent.common import utils as agent_utils
from neutron.db import models_v2, provisioning_blocks
from neutron.db.models import agent as agent_models
from neutron.db.models import allowed_address_pair, provisioning_block, segment
from neutron.db.port_security import models as port_security
from neutron.plugins.ml2 import models
from neutron_lib import constants, exceptions, rpc
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import resources
from neutron_lib.db import api as db_api
from neutron_lib.plugins import directory
from oslo_log import log

from isthmus.adapters.neutron.ml2 import segments
from isthmus.adapters.neutron.ml2.hosts import vtep_of
from isthmus.adapters.neutron.ml2.preflight import BINDERS, domains_of, ranges_of, static_domains
from isthmus.adapters.neutron.packing import packed
from isthmus.adapters.neutron.protocol import (
    AGENT_TYPE,
    KEPT,
    PAUSED,
    PROVISIONING_ENTITY,
    SERVER_TOPIC,
    VERSION,
)

LOG = log.getLogger(__name__)
Row = dict[str, Any]
LARGE = 12 << 20
REMEDY = "RabbitMQ 4 takes no more than 16 MiB, unless its max_message_size is raised"


class Answers:
    """The RPC endpoint."""

    target = oslo_messaging.Target(version=VERSION)

    def __init__(self, *, fabric: bool) -> None:
        """`fabric`: dynamic segments of the mapping domains are ours to make and to release."""
        self._fabric = fabric

    def read(self, context: Any) -> str:
        """All VXLAN networks with their segments and ports, and the Neutron agents that have tunnels: packed."""
        answer = packed(self._read(context))
        if len(answer) > LARGE:
            LOG.warning("all networks and ports are a message of %d MiB: %s", len(answer) >> 20, REMEDY)
        return answer

    @db_api.retry_if_session_inactive()
    def heard(self, context: Any) -> list[Row]:
        """Who reports a VTEP, a Neutron agent or isthmus for an appliance, and whether he lives; the latest is last."""
        with db_api.CONTEXT_READER.using(context):
            return list(_heard(context))

    @db_api.retry_if_session_inactive()
    def _read(self, context: Any) -> dict[str, Any]:
        with db_api.CONTEXT_READER.using(context):
            found = list(_networks(context))
            return {
                "networks": found,
                "ports": list(_ports(context, {row["id"] for row in found})),
                "beside": list(_beside(context, {row["id"] for row in found})),
                "agents": list(_tunnelling(context)),
                "domains": {domain: ranges_of(domain) for domain in sorted(domains_of())},
                "static": sorted(static_domains()),
                "held": segments.held(context) if self._fabric else [],
                "fabric": self._fabric,
                "kept": list(_kept(context)),
            }

    def ready(self, context: Any, ports: list[Row]) -> None:
        """Port group and leaf of these ports are in place where they are bound: they may be ACTIVE.

        `ports` are ``{"id", "host", "segment"}``: a port that is bound elsewhere by now is none of them.
        """
        for port in ports:
            _each(port["id"], _completed, context, port)

    def down(self, context: Any, ports: list[Row]) -> None:
        """These ports, ``{"id", "host", "segment"}``, are in no network now: their VMs are off, or gone."""
        for port in ports:
            _each(port["id"], _interrupted, context, port)

    def rebind(self, context: Any, ports: list[str]) -> None:
        """Try again to bind ports that are not bound."""
        for port in ports:
            _each(port, directory.get_plugin().update_port, context, port, {resources.PORT: {}})

    def hold(self, context: Any, vlans: list[tuple[str, int, str]]) -> None:
        """Give these VLANs (mapping domain, VID, why) to nobody: something of which Neutron does not know wears them,
        or a leaf does not take them.
        """
        for domain, vid, why in vlans if self._fabric else ():
            _each(f"VLAN {vid} of {domain}", segments.hold, context, domain, vid, why)

    def free(self, context: Any, vlans: list[tuple[str, int]]) -> None:
        """Give back VLANs (mapping domain, VID) that were held."""
        for domain, vid in vlans if self._fabric else ():
            _each(f"VLAN {vid} of {domain}", segments.free, context, domain, vid)

    def correct(self, context: Any, ports: list[Row]) -> None:
        """Bindings that name a port group which is gone name the one that took its place.

        `ports` are ``{"id", "host", "dvs_id", "pg_id"}``.
        """
        for port in ports:
            _each(port["id"], _corrected, context, port)

    def allocate(self, context: Any, network: str, domain: str) -> str:
        """Give a network its VLAN in a domain; empty, or the reason why it cannot be."""
        if not self._fabric or domain not in domains_of():
            return f"'{domain}' is no mapping domain of isthmus_fabric in Neutron's configuration"
        try:
            segments.reserve(context, network, domain, _vlans_of(context, network))
        except segments.NoNetworkAvailable:
            return f"no VLAN is left in mapping domain '{domain}'"
        return ""

    def retire(self, context: Any, unused: list[tuple[str, str]]) -> list[str]:
        """Begin to retire those of the segments (id, mark) that nothing refers to and whose mark is this; their ids."""
        return [of for of, mark in unused if self._fabric and _each(of, segments.retired, context, of, mark)]

    def release(self, context: Any, retiring: list[tuple[str, str]]) -> list[str]:
        """Give back the VLANs of segments (id, mark) that are in this retirement still; the ids of the gone."""
        return [of for of, mark in retiring if self._fabric and _each(of, segments.released, context, of, mark)]


OURS = frozenset({PROVISIONING_ENTITY, provisioning_blocks.L2_AGENT_ENTITY})
"""Whoever says that a port is wired: we, or where there is one the host's own agent."""


def _each(what: str, do: Callable[..., Any], *arguments: Any) -> Any:
    """One that cannot be had does not keep the next from it: None."""
    try:
        return do(*arguments)
    except exceptions.PortNotFound:
        LOG.debug("port %s is gone", what)
    except Exception:
        LOG.exception("%s", what)
    return None


def _completed(context: Any, port: Row) -> None:
    if _is_bound(context, port):
        provisioning_blocks.remove_provisioning_component(context, port["id"], resources.PORT, PROVISIONING_ENTITY)
        # Of a port that is about to be migrated Neutron tells Nova, who waits for it, only in an L2 agent's name.
        provisioning_blocks.provisioning_complete(
            context, port["id"], resources.PORT, provisioning_blocks.L2_AGENT_ENTITY
        )


def _interrupted(context: Any, port: Row) -> None:
    if _is_bound(context, port):
        directory.get_plugin().update_port_status(context, port["id"], constants.PORT_STATUS_DOWN, port["host"])


@db_api.retry_if_session_inactive()
def _corrected(context: Any, port: Row) -> None:
    with db_api.CONTEXT_WRITER.using(context):
        bindings = context.session.query(models.PortBinding).filter_by(port_id=port["id"], host=port["host"])
        binding = bindings.with_for_update().one_or_none()
        if binding is not None and binding.vif_type == "dvs":
            details = json.loads(binding.vif_details or "{}")
            binding.vif_details = json.dumps({**details, "dvs_id": port["dvs_id"], "pg_id": port["pg_id"]})


def _is_bound(context: Any, port: Row) -> bool:
    """It is active on that host, and its bottom level is that segment."""
    with db_api.CONTEXT_READER.using(context):
        bindings = context.session.query(models.PortBinding.port_id).filter_by(
            port_id=port["id"], host=port["host"], status=constants.ACTIVE
        )
        levels = (
            context.session.query(models.PortBindingLevel.port_id)
            .filter_by(port_id=port["id"], host=port["host"], segment_id=port["segment"])
            .filter(models.PortBindingLevel.driver.in_(BINDERS))
        )
        return bindings.first() is not None and levels.first() is not None


def served(endpoint: Answers) -> list[Any]:
    """The endpoint, served on threads of this process."""
    connection = rpc.Connection()
    connection.create_consumer(SERVER_TOPIC, [endpoint], fanout=False)
    return list(connection.consume_in_threads())


def _networks(context: Any) -> Iterator[Row]:
    """Networks that have a VNI, each with its VLAN segments."""
    table = segment.NetworkSegment
    rows = context.session.query(
        table.id,
        table.network_id,
        table.network_type,
        table.physical_network,
        table.segmentation_id,
        table.is_dynamic,
        table.name,
    ).order_by(table.network_id, table.segment_index)
    levels = context.session.query(models.PortBindingLevel.segment_id).distinct()
    used = {row.segment_id for row in levels}  # also those of distributed ports, which have no binding of their own
    overlays: dict[str, tuple[str, int]] = {}
    vlans: dict[str, list[Row]] = {}
    for row in rows:
        if row.network_type == constants.TYPE_VXLAN and row.segmentation_id is not None:
            overlays.setdefault(row.network_id, (row.id, row.segmentation_id))
        elif row.network_type == constants.TYPE_VLAN and row.segmentation_id is not None:
            vlans.setdefault(row.network_id, []).append(
                {
                    "id": row.id,
                    "physical_network": row.physical_network,
                    "vid": row.segmentation_id,
                    "dynamic": bool(row.is_dynamic),
                    "mark": row.name or "",
                    "used": row.id in used,
                }
            )
    named = context.session.query(models_v2.Network.id, models_v2.Network.name, models_v2.Network.mtu)
    for row in named:
        if row.id in overlays:
            overlay, vni = overlays[row.id]
            yield {
                "id": row.id,
                "name": row.name or "",
                "mtu": row.mtu,
                "vni": vni,
                "overlay": overlay,
                "segments": vlans.get(row.id, []),
            }


def _ports(context: Any, networks: Collection[str]) -> Iterator[Row]:
    """The ports of these networks, each with its bindings, active and not, and the segments of their levels."""
    table = models_v2.Port
    rows = context.session.query(
        table.id,
        table.network_id,
        table.mac_address,
        table.device_id,
        table.device_owner,
        table.admin_state_up,
        table.status,
        table.standard_attr_id,
    )
    addresses = _by_port(context, models_v2.IPAllocation, ("ip_address",))
    unsecured = _unsecured(context)
    pairs = _by_port(context, allowed_address_pair.AllowedAddressPair, ("mac_address", "ip_address"))
    bindings = _by_port(context, models.PortBinding, ("host", "vif_type", "vif_details", "status"))
    levels = _by_port(context, models.PortBindingLevel, ("host", "level", "driver", "segment_id"))
    blocks = _blocks(context)
    for row in (row for row in rows if row.network_id in networks):
        waits_for = blocks.get(row.standard_attr_id, set())
        yield {
            "id": row.id,
            "network": row.network_id,
            "mac": row.mac_address,
            "device": row.device_id,
            "owner": row.device_owner,
            "admin_up": bool(row.admin_state_up),
            "status": row.status,
            "awaits_others": bool(waits_for) and waits_for.isdisjoint(OURS),
            "addresses": [str(address) for (address,) in addresses.get(row.id, ())],
            "secured": row.id not in unsecured,
            "pairs": [[mac or row.mac_address, address] for mac, address in pairs.get(row.id, ())],
            "bindings": [
                _binding(binding, [level[1:] for level in levels.get(row.id, ()) if level[0] == binding[0]])
                for binding in bindings.get(row.id, ())
                if binding[0]
            ],
        }


def _beside(context: Any, networks: Collection[str]) -> Iterator[Row]:
    """The ports of all other networks that could not be bound, or are bound to a port group: there is none for them."""
    port, binding = models_v2.Port, models.PortBinding
    rows = context.session.query(port.id, port.network_id, binding.host).filter(binding.port_id == port.id)
    for row in rows.filter(binding.vif_type.in_((portbindings.VIF_TYPE_BINDING_FAILED, "dvs"))):
        if row.network_id not in networks:
            yield {"id": row.id, "host": row.host}


def _binding(row: tuple[Any, ...], levels: Sequence[tuple[Any, ...]]) -> Row:
    host, vif_type, vif_details, status = row
    bottom = max(levels, key=lambda level: level[0], default=None)
    details = json.loads(vif_details) if vif_details else {}
    return {
        "host": host,
        "active": status == constants.ACTIVE,
        "failed": vif_type == portbindings.VIF_TYPE_BINDING_FAILED,
        "unbound": vif_type == portbindings.VIF_TYPE_UNBOUND,
        "segments": [segment for _, _, segment in sorted(levels, key=lambda level: level[0]) if segment is not None],
        "ours": bottom is not None and bottom[1] in BINDERS,
        "dvs_id": details.get("dvs_id"),
        "pg_id": details.get("pg_id"),
    }


def _unsecured(context: Any) -> set[str]:
    """The ports that may send from any address."""
    table = port_security.PortSecurityBinding
    rows = context.session.query(table.port_id).filter(table.port_security_enabled.is_(False))
    return {row.port_id for row in rows}


def _blocks(context: Any) -> dict[int, set[str]]:
    """Who is waited for before an object is ACTIVE."""
    table = provisioning_block.ProvisioningBlock
    found: dict[int, set[str]] = {}
    for row in context.session.query(table.standard_attr_id, table.entity):
        found.setdefault(row.standard_attr_id, set()).add(row.entity)
    return found


def _by_port(context: Any, table: Any, columns: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in context.session.query(table.port_id, *(getattr(table, column) for column in columns)):
        found.setdefault(row[0], []).append(tuple(row[1:]))
    return found


def _tunnelling(context: Any) -> Iterator[Row]:
    """Neutron agents with a VTEP of their own: hosts that reach the overlay without a leaf.

    A host that has two rows (another kind of agent was there before) is behind the VTEP of who was heard of last.
    """
    table = agent_models.Agent
    rows = context.session.query(table.host, table.agent_type, table.configurations, table.started_at)
    for row in rows.order_by(table.heartbeat_timestamp):
        told = json.loads(row.configurations) if row.configurations else {}
        if (vtep := vtep_of(row.agent_type, told)) is not None:
            yield {"host": row.host, "vtep": vtep, "started_at": str(row.started_at)}


def _heard(context: Any) -> Iterator[Row]:
    """Whoever has told a VTEP, by when he was heard of."""
    table = agent_models.Agent
    rows = context.session.query(table.configurations, table.heartbeat_timestamp)
    for row in rows.order_by(table.heartbeat_timestamp):
        told = json.loads(row.configurations) if row.configurations else {}
        if isinstance(told, dict) and isinstance(vtep := told.get("tunneling_ip"), str):
            alive = not agent_utils.is_agent_down(row.heartbeat_timestamp)
            yield {"vtep": vtep, "alive": alive, "at": row.heartbeat_timestamp.strftime("%Y-%m-%d %H:%M:%S")}


def _kept(context: Any) -> Iterator[str]:
    """The hosts that a living `isthmus run` says that it keeps."""
    table = agent_models.Agent
    rows = context.session.query(table.host, table.configurations, table.heartbeat_timestamp)
    for row in rows.filter(table.agent_type == AGENT_TYPE):
        told = json.loads(row.configurations) if row.configurations else {}
        if told.get("standing") in (KEPT, PAUSED) and not agent_utils.is_agent_down(row.heartbeat_timestamp):
            yield row.host


def _vlans_of(context: Any, network: str) -> list[Row]:
    """The VLAN segments of a network as ML2 gives them to a driver."""
    with db_api.CONTEXT_READER.using(context):
        table = segment.NetworkSegment
        rows = context.session.query(table).filter_by(network_id=network, network_type=constants.TYPE_VLAN)
        return [
            {
                "id": row.id,
                "network_type": row.network_type,
                "physical_network": row.physical_network,
                "segmentation_id": row.segmentation_id,
                "network_id": network,
            }
            for row in rows
        ]
