"""What binding to a port group of a distributed switch has in common, whatever the segment: `isthmus_vds` binds a VLAN
below a leaf, `isthmus_ovsvapp` a VXLAN segment on a cluster whose hosts have VTEPs of their own.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from neutron.db import provisioning_blocks
from neutron.plugins.ml2 import models
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import resources
from neutron_lib.db import api as db_api
from neutron_lib.plugins.ml2 import api

from isthmus.adapters.neutron.ml2 import options, preflight, trunks
from isthmus.adapters.neutron.ml2.answers import Answers, served
from isthmus.adapters.neutron.ml2.hooks import Hooks, has_agent
from isthmus.adapters.neutron.ml2.hosts import OurHost
from isthmus.adapters.neutron.ml2.patience import Patience
from isthmus.adapters.neutron.protocol import PROVISIONING_ENTITY

VIF_TYPE = "dvs"
"""What Nova's driver for vSphere takes: with `dvs_id` and `pg_id` it looks nothing up by name."""


class PortGroupBinder(Hooks):
    """A driver whose bindings end in a port group, and are complete when `isthmus run` says so."""

    NAME: ClassVar[str]
    """The driver's, in [ml2] mechanism_drivers."""

    def __init__(self) -> None:
        super().__init__()
        preflight.refuse(self.NAME)

    def initialize(self) -> None:
        """Read the options.  No thread, no connection: this process may fork."""
        self._options = options.register()
        self.speaks = preflight.speaker() == self.NAME
        super().initialize()
        self._patience = Patience(self._options.port_group_wait, time.monotonic)
        trunks.subscribe()

    def start_rpc_listeners(self) -> list[Any]:
        """Answer `isthmus run`, in neutron-rpc-server, where no other driver of ours does."""
        return served(Answers(fabric=False)) if self.speaks else []

    def bind_to_port_group(self, context: Any, host: OurHost, segment: Mapping[str, Any], vid: int | None) -> None:
        """Bind a segment, once its port group is there: the one with this VID, or the one whose ports have their own.

        What cannot be bound is left, with the reason in the log.
        """
        if reason := _refusal(context.current) or host.refusal:
            self.not_bound(context, host.name, reason)
            return
        answer = self._port_group(context, host, vid)
        if "pg_id" not in answer:
            self.not_bound(context, host.name, str(answer.get("reason")), level=logging.WARNING)
            return
        elsewhere = None if self._options.live_migration_between_switches else _other_port_group(context, answer)
        if elsewhere is not None:
            why = (
                f"its VM runs on {elsewhere}, and Nova would move it with its port group there, which {host.name} lacks"
            )
            self.not_bound(context, host.name, why)
            return
        details = {
            "dvs_id": answer["dvs_id"],
            "pg_id": answer["pg_id"],
            portbindings.CAP_PORT_FILTER: host.is_plugged,
            portbindings.VIF_DETAILS_CONNECTIVITY: self.connectivity,
        }
        status = constants.PORT_STATUS_BUILD if host.is_plugged else self._options.initial_port_status
        context.set_binding(segment[api.ID], VIF_TYPE, details, status)

    def _port_group(self, context: Any, host: OurHost, vid: int | None) -> Mapping[str, Any]:
        """The port group, waited for; or the reason why there is none yet."""
        port, network = context.current["id"], context.current["network_id"]
        nobody = {"reason": f"no 'isthmus run' that keeps {host.domain} answers"}
        left = self._patience.left(port, host.name) if host.alive else None
        if left is None:
            return nobody
        wait = float(self._options.port_group_wait)
        answer = self.notices.port_group(host.domain, host.name, network, vid, left, wait)
        if answer is None:
            self._patience.unheard(port, host.name)
            return nobody
        if not isinstance(answer, dict) or not (answer.keys() >= {"dvs_id", "pg_id"} or "reason" in answer):
            return {"reason": f"the 'isthmus run' that keeps {host.domain} answered something else than expected"}
        if "pg_id" in answer:
            self._patience.over(port, host.name)
        return answer

    def create_port_precommit(self, context: Any) -> None:
        """A port that was bound as BUILD stays so until it can be used, or until Neutron's own agent has wired it."""
        self._block(context)

    def update_port_precommit(self, context: Any) -> None:
        """As above.  A port whose binding went elsewhere waits for nobody here."""
        self._block(context)
        if context.original.get(portbindings.VIF_TYPE) == VIF_TYPE and not _is_bound_by_us(context):
            provisioning_blocks.remove_provisioning_component(
                context.plugin_context, context.current["id"], resources.PORT, PROVISIONING_ENTITY
            )

    def _block(self, context: Any) -> None:
        if _is_bound_by_us(context) and context.current["status"] == constants.PORT_STATUS_BUILD:
            entity = provisioning_blocks.L2_AGENT_ENTITY if has_agent(context.current) else PROVISIONING_ENTITY
            provisioning_blocks.add_provisioning_component(
                context.plugin_context, context.current["id"], resources.PORT, entity
            )


def _other_port_group(context: Any, here: Mapping[str, Any]) -> str | None:
    """The host from which a VM would be moved here alive, if its port group there is another one.

    Nova moves it with the NIC backings of the active binding (VMwareVMOps.live_migration), so that vCenter would refuse
    the move at its end, or, if it did not, the VM would be on the VLAN of another leaf.
    """
    with db_api.CONTEXT_READER.using(context.plugin_context):
        rows = context.plugin_context.session.query(models.PortBinding)
        active = rows.filter_by(port_id=context.current["id"], status=constants.ACTIVE).one_or_none()
        if active is None or active.vif_type != VIF_TYPE:
            return None
        there = json.loads(active.vif_details or "{}")
        return None if all(there.get(key) == here[key] for key in ("dvs_id", "pg_id")) else str(active.host)


def _is_bound_by_us(context: Any) -> bool:
    levels: list[dict[str, Any]] = context.binding_levels or []
    return bool(levels) and levels[-1][api.BOUND_DRIVER] in preflight.BINDERS


def _refusal(port: dict[str, Any]) -> str:
    """Why no port group can carry such a port; empty: one can."""
    vnic, owner = port.get(portbindings.VNIC_TYPE), port.get("device_owner", "")
    if trunks.has_subports(port):
        return "it is a trunk's parent, and a port group carries one network, untagged: take its subports away"
    if vnic not in (portbindings.VNIC_NORMAL, None):
        return f"its vnic_type is {vnic}, and a distributed switch has 'normal' only"
    if not owner.startswith(constants.DEVICE_OWNER_COMPUTE_PREFIX):
        return f"its owner is {owner or 'nobody'}, and only VMs ('compute:') are on a distributed switch"
    return ""
