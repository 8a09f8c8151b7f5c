"""The life of a dynamic VLAN segment: reserved, in use, retiring, released.

```
 (none) --reserve--> in use <---reserve again--- retiring --release--> (none)
                        '------- retire: no level of any binding refers to it ---'
```
A network that is deleted takes its segments along, and Neutron counts their VLANs as free at once.  Ours are held:
taken, without a segment, until isthmus says that nothing wears them; so are those that it sees something else wear, or
that a leaf does not take.

Law: a segment is retired only while nothing refers to it and nobody has reserved it since isthmus looked, and released
only while nothing refers to it in the very retirement that isthmus looked after, both under a lock on its row; who
binds meanwhile waits for that lock, since a level refers to the row.  Between the two its port group and its mapping
go, so that Neutron gives a VLAN to no other network while anything wears it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from neutron.db.models import segment as segment_models
from neutron.db.models.plugins.ml2 import vlanallocation
from neutron.plugins.ml2 import models
from neutron_lib import constants
from neutron_lib.callbacks import priority_group
from neutron_lib.db import api as db_api
from neutron_lib.exceptions import NoNetworkAvailable as NoNetworkAvailable
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api
from oslo_db import exception as db_exc
from oslo_log import log

from isthmus.adapters.neutron.protocol import RESERVED, RETIRING

LOG = log.getLogger(__name__)
TRIES = 5

HELD = "isthmus: VLANs of the network that is being deleted"
LAST = priority_group.PRIORITY_DEFAULT + 10_000_000
"""Later than Neutron's own handlers of the same event: it calls those with smaller numbers first."""


def overlay_of(segments: Collection[dict[str, Any]]) -> dict[str, Any] | None:
    """The VXLAN segment among these: what the overlay knows the network by."""
    return next((s for s in segments if s[api.NETWORK_TYPE] == constants.TYPE_VXLAN and s[api.SEGMENTATION_ID]), None)


def reserve(context: Any, network_id: str, domain: str, present: Collection[dict[str, Any]]) -> dict[str, Any]:
    """The network's VLAN segment in a domain, allocated if it has none.

    One that an operator gave the network there (a multi-segment network) is used as it is.  Raises NoNetworkAvailable
    when all VLANs of the domain are taken.
    """
    for segment in present:
        is_there = segment[api.NETWORK_TYPE] == constants.TYPE_VLAN and segment[api.PHYSICAL_NETWORK] == domain
        if is_there and _is_kept(context, segment[api.ID]):
            return segment
    wanted = {api.NETWORK_TYPE: constants.TYPE_VLAN, api.PHYSICAL_NETWORK: domain}
    count_as_taken(context, domain)
    for attempt in range(TRIES):
        try:
            segment = directory.get_plugin().type_manager.allocate_dynamic_segment(context, network_id, dict(wanted))
        except db_exc.DBDuplicateEntry:
            continue  # another bound a port of the network here at the same moment: theirs is ours
        if _is_kept(context, segment[api.ID]):
            return dict(segment)
        LOG.debug("segment %s of %s was released just now (attempt %d)", segment[api.ID], network_id, attempt + 1)
    raise NoNetworkAvailable


def count_as_taken(context: Any, domain: str) -> None:
    """The VLANs that segments have.

    A Neutron that starts while no range names the domain forgets them, and one that starts when it is named again
    counts them as free: they would be given to a second network.
    """
    segment, vlan = segment_models.NetworkSegment, vlanallocation.VlanAllocation
    with db_api.CONTEXT_READER.using(context):  # without a lock: nearly always there is none
        free = context.session.query(vlan.vlan_id).filter_by(physical_network=domain, allocated=False)
        having = context.session.query(segment.id).filter_by(network_type=constants.TYPE_VLAN, physical_network=domain)
        found = [row.id for row in having.filter(segment.segmentation_id.in_(free))]
    for segment_id in found:
        _count_as_taken(context, segment_id)


@db_api.retry_if_session_inactive()
def _count_as_taken(context: Any, segment_id: str) -> None:
    """The VLAN of a segment, if that is there still: who releases it locks it first, as here."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _locked(context, segment_id)
        if row is None:
            return
        vlans = context.session.query(vlanallocation.VlanAllocation).filter_by(
            physical_network=row.physical_network, vlan_id=row.segmentation_id, allocated=False
        )
        for vlan in vlans.with_for_update():
            vlan.allocated = True
            LOG.warning("VLAN %d of %s was counted as free, and a network has it", vlan.vlan_id, row.physical_network)


def _is_kept(context: Any, segment_id: str) -> bool:
    """The segment is there, and for a while not to be retired: a port will refer to it."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _locked(context, segment_id)
        if row is None:
            return False
        # Who would retire it has seen another mark then.  While ports refer to it nobody would.
        if row.is_dynamic and (_is_ours(row.name, RETIRING) or _levels(context, segment_id).first() is None):
            row.name = _mark(RESERVED)
        return True


@db_api.retry_if_session_inactive()
def retired(context: Any, segment_id: str, mark: str) -> bool:
    """Begin to retire a segment that nothing refers to and that has this mark still; whether that began now."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _locked(context, segment_id)
        if row is None or not row.is_dynamic or (row.name or "") != mark or _is_referred_to(context, segment_id):
            return False
        row.name = _mark(RETIRING)
        return True


@db_api.retry_if_session_inactive()
def released(context: Any, segment_id: str, mark: str) -> bool:
    """Give back the VLAN of a segment that is in this retirement still, and unused; whether the segment is gone."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _locked(context, segment_id)
        if row is None:
            return True
        is_idle = row.is_dynamic and _is_ours(mark, RETIRING) and row.name == mark
        if not is_idle or _is_referred_to(context, segment_id):
            return False
        vlan = f"VLAN {row.segmentation_id} of {row.physical_network}, network {row.network_id}"
        directory.get_plugin().type_manager.release_dynamic_segment(context, segment_id)
        LOG.info("released %s", vlan)
        return True


def _mark(what: str) -> str:
    return f"{what} {uuid.uuid4().hex[:8]}"


def _is_ours(name: str | None, what: str) -> bool:
    return name is not None and name.startswith(what)


def remember(context: Any, network_id: str, domains: Collection[str]) -> None:
    """Note the VLANs of a network that is being deleted, within its transaction.

    Those of mapping domains, and those that were reserved in what is none any more: there they are worn all the same.
    """
    table = segment_models.NetworkSegment
    rows = context.session.query(table.physical_network, table.segmentation_id, table.name)
    context.session.info[HELD] = [
        (domain, vid)
        for domain, vid, name in rows.filter_by(network_id=network_id, network_type=constants.TYPE_VLAN)
        if domain in domains or _is_ours(name, RESERVED) or _is_ours(name, RETIRING)
    ]


def hold_on(context: Any) -> None:
    """Take back what Neutron has just counted as free, in the same transaction."""
    for domain, vid in context.session.info.pop(HELD, ()):
        _allocation(context, domain, vid).update({"allocated": True})


def held(context: Any) -> list[tuple[str, int]]:
    """The VLANs that are taken and have no segment, also where no mapping domain is any more."""
    segment, vlan = segment_models.NetworkSegment, vlanallocation.VlanAllocation
    segments = context.session.query(segment.physical_network, segment.segmentation_id)
    used = {tuple(row) for row in segments.filter(segment.network_type == constants.TYPE_VLAN)}
    taken = context.session.query(vlan.physical_network, vlan.vlan_id).filter(vlan.allocated.is_(True))
    return sorted(tuple(row) for row in taken if tuple(row) not in used)


@db_api.retry_if_session_inactive()
def hold(context: Any, domain: str, vid: int, why: str) -> None:
    """Take a VLAN if it is free."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _allocation(context, domain, vid).with_for_update().one_or_none()
        if row is not None and not row.allocated:
            row.allocated = True
            LOG.warning("VLAN %d of %s is held: %s", vid, domain, why)


@db_api.retry_if_session_inactive()
def free(context: Any, domain: str, vid: int) -> None:
    """Give back a VLAN if no segment has it."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _allocation(context, domain, vid).with_for_update().one_or_none()
        has = context.session.query(segment_models.NetworkSegment.id).filter_by(
            network_type=constants.TYPE_VLAN, physical_network=domain, segmentation_id=vid
        )
        if row is not None and row.allocated and has.first() is None:
            # By the type driver: a VLAN that is in no range any more is not one to be given out.
            vlans = directory.get_plugin().type_manager.drivers[constants.TYPE_VLAN].obj
            vlans.release_segment(context, {api.PHYSICAL_NETWORK: domain, api.SEGMENTATION_ID: vid})
            LOG.info("VLAN %d of %s is free again", vid, domain)


def _allocation(context: Any, domain: str, vid: int) -> Any:
    return context.session.query(vlanallocation.VlanAllocation).filter_by(physical_network=domain, vlan_id=vid)


def _locked(context: Any, segment_id: str) -> Any:
    rows = context.session.query(segment_models.NetworkSegment).filter_by(id=segment_id)
    # Alone: joined to what Neutron loads along with it, PostgreSQL would lock nothing and fail.
    return rows.enable_eagerloads(False).with_for_update().one_or_none()


def _is_referred_to(context: Any, segment_id: str) -> bool:
    return _levels(context, segment_id).with_for_update().first() is not None


def _levels(context: Any, segment_id: str) -> Any:
    return context.session.query(models.PortBindingLevel).filter_by(segment_id=segment_id).enable_eagerloads(False)
