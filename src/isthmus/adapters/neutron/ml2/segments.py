"""The life of a dynamic VLAN segment: reserved, in use, retiring, released.

```
 (none) --reserve--> in use <---reserve again--- retiring --release--> (none)
                        '------- retire: no level of any binding refers to it ---'
```
A network that is deleted takes its segments along, and Neutron counts their VLANs as free at once.  Ours are held:
taken, without a segment, until isthmus says that nothing wears them; so are those that it sees something else wear.

Law: a segment is retired only while nothing refers to it, and released only while nothing refers to it in the very
retirement that isthmus looked after, both under a lock on its row; who binds meanwhile waits for that lock, since a
level refers to the row.  Between the two its port group and its mapping go, so that Neutron gives a VLAN to no other
network while anything wears it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
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

from isthmus.adapters.neutron.protocol import RETIRING

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
    for attempt in range(TRIES):
        try:
            segment = directory.get_plugin().type_manager.allocate_dynamic_segment(context, network_id, dict(wanted))
        except db_exc.DBDuplicateEntry:
            continue  # another bound a port of the network here at the same moment: theirs is ours
        if _is_kept(context, segment[api.ID]):
            return dict(segment)
        LOG.debug("segment %s of %s was released just now (attempt %d)", segment[api.ID], network_id, attempt + 1)
    raise NoNetworkAvailable


def _is_kept(context: Any, segment_id: str) -> bool:
    """The segment is there, and not retiring any more."""
    with db_api.CONTEXT_WRITER.using(context):
        row = _locked(context, segment_id)
        if row is None:
            return False
        if retirement(row.name):
            row.name = None
        return True


@db_api.retry_if_session_inactive()
def retire(context: Any, segment_ids: Collection[str]) -> list[str]:
    """Mark those of the segments that nothing refers to; the ids of those that began to retire now."""
    done = []
    for segment_id in segment_ids:
        with db_api.CONTEXT_WRITER.using(context):
            row = _locked(context, segment_id)
            if row is not None and row.is_dynamic and not _is_referred_to(context, segment_id):
                row.name = f"{RETIRING} {uuid.uuid4().hex[:8]}"
                done.append(segment_id)
    return done


@db_api.retry_if_session_inactive()
def release(context: Any, retiring: Collection[tuple[str, str]]) -> list[str]:
    """Give back the VLANs of segments that nothing refers to and that are in this retirement still (id, retirement);
    the ids of those that are gone now."""
    return list(_released(context, retiring))


def retirement(name: str | None) -> str:
    """Which retirement a segment of this name is in; empty: none."""
    return name if name is not None and name.startswith(RETIRING) else ""


def _released(context: Any, retiring: Collection[tuple[str, str]]) -> Iterator[str]:
    for segment_id, seen in retiring:
        with db_api.CONTEXT_WRITER.using(context):
            row = _locked(context, segment_id)
            if row is None:
                yield segment_id
            elif row.is_dynamic and row.name == seen and not _is_referred_to(context, segment_id):
                vlan = f"VLAN {row.segmentation_id} of {row.physical_network}, network {row.network_id}"
                directory.get_plugin().type_manager.release_dynamic_segment(context, segment_id)
                LOG.info("released %s", vlan)
                yield segment_id


def remember(context: Any, segments: Collection[dict[str, Any]], domains: Collection[str]) -> None:
    """Note the VLANs of a network that is being deleted, within its transaction."""
    context.session.info[HELD] = [
        (segment[api.PHYSICAL_NETWORK], segment[api.SEGMENTATION_ID])
        for segment in segments
        if segment[api.NETWORK_TYPE] == constants.TYPE_VLAN and segment[api.PHYSICAL_NETWORK] in domains
    ]


def hold_on(context: Any) -> None:
    """Take back what Neutron has just counted as free, in the same transaction."""
    for domain, vid in context.session.info.pop(HELD, ()):
        _allocation(context, domain, vid).update({"allocated": True})


def held(context: Any, domains: Collection[str]) -> list[tuple[str, int]]:
    """The VLANs of mapping domains that are taken and have no segment."""
    segment, vlan = segment_models.NetworkSegment, vlanallocation.VlanAllocation
    segments = context.session.query(segment.physical_network, segment.segmentation_id)
    used = {tuple(row) for row in segments.filter(segment.network_type == constants.TYPE_VLAN)}
    taken = context.session.query(vlan.physical_network, vlan.vlan_id).filter(
        vlan.allocated.is_(True), vlan.physical_network.in_(list(domains))
    )
    return sorted(tuple(row) for row in taken if tuple(row) not in used)


def hold(context: Any, vlans: Collection[tuple[str, int]]) -> None:
    """Take those of these VLANs that are free."""
    for domain, vid in vlans:
        with db_api.CONTEXT_WRITER.using(context):
            row = _allocation(context, domain, vid).with_for_update().one_or_none()
            if row is not None and not row.allocated:
                row.allocated = True
                LOG.warning("VLAN %d of %s is held: something that is no network of Neutron's wears it", vid, domain)


def free(context: Any, vlans: Collection[tuple[str, int]]) -> None:
    """Give back those of these VLANs that no segment has."""
    for domain, vid in vlans:
        with db_api.CONTEXT_WRITER.using(context):
            row = _allocation(context, domain, vid).with_for_update().one_or_none()
            has = context.session.query(segment_models.NetworkSegment.id).filter_by(
                network_type=constants.TYPE_VLAN, physical_network=domain, segmentation_id=vid
            )
            if row is not None and has.first() is None:
                row.allocated = False
                LOG.info("VLAN %d of %s is free again", vid, domain)


def _allocation(context: Any, domain: str, vid: int) -> Any:
    return context.session.query(vlanallocation.VlanAllocation).filter_by(physical_network=domain, vlan_id=vid)


def _locked(context: Any, segment_id: str) -> Any:
    rows = context.session.query(segment_models.NetworkSegment).filter_by(id=segment_id)
    # Alone: joined to what Neutron loads along with it, PostgreSQL would lock nothing and fail.
    return rows.enable_eagerloads(False).with_for_update().one_or_none()


def _is_referred_to(context: Any, segment_id: str) -> bool:
    levels = context.session.query(models.PortBindingLevel).filter_by(segment_id=segment_id)
    return levels.enable_eagerloads(False).with_for_update().first() is not None
