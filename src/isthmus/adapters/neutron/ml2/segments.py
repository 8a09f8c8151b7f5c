"""The life of a dynamic VLAN segment: reserved, in use, retiring, released.

```
 (none) --reserve--> in use <---reserve again--- retiring --release--> (none)
                        '------- retire: no level of any binding refers to it ---'
```
Law: a segment is retired only while nothing refers to it, and released only while it is retiring and nothing refers to
it, both under a lock on its row; who binds meanwhile waits for that lock, since a level refers to the row.  Between the
two its port group and its mapping go, so that Neutron gives a VLAN to no other network while anything wears it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from neutron.db.models import segment as segment_models
from neutron.plugins.ml2 import models
from neutron_lib import constants
from neutron_lib.db import api as db_api
from neutron_lib.exceptions import NoNetworkAvailable
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api
from oslo_db import exception as db_exc
from oslo_log import log

from isthmus.adapters.neutron.protocol import RETIRING

LOG = log.getLogger(__name__)
TRIES = 5

__all__ = ["NoNetworkAvailable", "overlay_of", "release", "reserve", "retire"]


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
        if row.name == RETIRING:
            row.name = None
        return True


@db_api.retry_if_session_inactive()
def retire(context: Any, segment_ids: Collection[str]) -> list[str]:
    """Mark those of the segments that nothing refers to; the ids of those that are retiring now."""
    done = []
    for segment_id in segment_ids:
        with db_api.CONTEXT_WRITER.using(context):
            row = _locked(context, segment_id)
            if row is not None and row.is_dynamic and not _is_referred_to(context, segment_id):
                row.name = RETIRING
                done.append(segment_id)
    return done


@db_api.retry_if_session_inactive()
def release(context: Any, segment_ids: Collection[str]) -> list[str]:
    """Give back the VLANs of retiring segments that nothing refers to; the ids of those that are gone now."""
    return list(_released(context, segment_ids))


def _released(context: Any, segment_ids: Collection[str]) -> Iterator[str]:
    for segment_id in segment_ids:
        with db_api.CONTEXT_WRITER.using(context):
            row = _locked(context, segment_id)
            if row is None:
                yield segment_id
            elif row.is_dynamic and row.name == RETIRING and not _is_referred_to(context, segment_id):
                vlan = f"VLAN {row.segmentation_id} of {row.physical_network}, network {row.network_id}"
                directory.get_plugin().type_manager.release_dynamic_segment(context, segment_id)
                LOG.info("released %s", vlan)
                yield segment_id


def _locked(context: Any, segment_id: str) -> Any:
    rows = context.session.query(segment_models.NetworkSegment).filter_by(id=segment_id)
    return rows.with_for_update().one_or_none()


def _is_referred_to(context: Any, segment_id: str) -> bool:
    levels = context.session.query(models.PortBindingLevel).filter_by(segment_id=segment_id)
    return levels.enable_eagerloads(False).with_for_update().first() is not None
