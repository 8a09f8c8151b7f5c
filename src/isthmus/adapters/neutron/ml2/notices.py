"""Wakes `isthmus run`, and asks it for port groups.  What cannot be said is not said: the next round finds it out."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import oslo_messaging
from neutron_lib import context as neutron_context
from neutron_lib import rpc
from oslo_config import cfg
from oslo_log import log

from isthmus.adapters.neutron.protocol import NOTIFY_TOPIC, SERVER_TOPIC, VERSION, domain_topic
from isthmus.adapters.neutron.reach import Reach

LOG = log.getLogger(__name__)
UNREACHABLE = (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure, oslo_messaging.RemoteError)
AT_ONCE = 5.0
"""Seconds within which the same refusal is no news."""
SPARE = 2.0
"""Seconds for the answer's way back."""


class Notices:
    """The drivers' way to every `isthmus run`."""

    def __init__(self) -> None:
        self._client: Any = None
        self._reach = Reach()
        self._refused: tuple[str, str, str] | None = None
        self._refused_at = 0.0

    def changed(self, networks: Collection[str]) -> None:
        """Something about these networks changed."""
        try:
            self._prepared(topic=NOTIFY_TOPIC, fanout=True, retry=1).cast(
                neutron_context.get_admin_context(), "changed", networks=sorted(networks)
            )
        except Exception as fault:  # a hook that raised would undo what the user did
            LOG.debug("isthmus was not woken, and will see it by itself: %s", fault)

    def refused(self, port: str, host: str, reason: str) -> None:
        """A port was not bound on a host.  Neutron tries ten times in a row: that is said once."""
        news, now = (port, host, reason), time.monotonic()
        if news == self._refused and now - self._refused_at < AT_ONCE:
            return
        self._refused, self._refused_at = news, now
        try:
            self._prepared(topic=NOTIFY_TOPIC, fanout=True, retry=1).cast(
                neutron_context.get_admin_context(), "refused", port=port, host=host, reason=reason
            )
        except Exception as fault:  # Neutron's log has it
            LOG.debug("isthmus was not told why port %s is not bound: %s", port, fault)

    def port_group(self, domain: str, host: str, network: str, vid: int | None, seconds: float, wait: float) -> Any:
        """The port group of a network for a host: ``{"dvs_id", "pg_id"}``, or ``{"reason"}`` why there is none.

        `vid` is what it must have; None: none, since its ports have their own.  It is waited for
        `wait` seconds, with all tries together.

        Waits up to `seconds`, and a little for the answer's way.  None: nobody answered.
        """
        question = {"host": host, "network": network, "vid": vid, "seconds": seconds, "wait": wait}
        try:
            return self._prepared(topic=domain_topic(domain), timeout=seconds + SPARE).call(
                neutron_context.get_admin_context(), "port_group", **question
            )
        except UNREACHABLE as fault:
            LOG.debug("nobody who keeps %s answered: %s", domain, fault)
            return None

    def _prepared(self, **how: Any) -> Any:
        if why := self._reach.why_not(oslo_messaging.TransportURL.parse(cfg.CONF).hosts):
            raise oslo_messaging.MessageDeliveryFailure(why)
        if self._client is None:  # made late: never in a parent process
            self._client = rpc.get_client(oslo_messaging.Target(topic=SERVER_TOPIC, version=VERSION))
        return self._client.prepare(**how)
