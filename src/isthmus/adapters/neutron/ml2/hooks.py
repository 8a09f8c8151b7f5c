"""What both drivers do at every hook: say which network changed.  Twice said is once too often, and harmless."""

from __future__ import annotations

from typing import Any

from neutron_lib.plugins.ml2.api import MechanismDriver

from isthmus.adapters.neutron.ml2.notices import Notices


class Hooks(MechanismDriver):
    """A driver whose hooks wake `isthmus run`, after the transaction.  They never raise."""

    connectivity = "l2"

    def __init__(self) -> None:
        self.notices = Notices()

    def initialize(self) -> None:
        """Nothing: this process may fork."""

    def create_network_postcommit(self, context: Any) -> None:
        """A network is there."""
        self.notices.changed([context.current["id"]])

    update_network_postcommit = create_network_postcommit
    delete_network_postcommit = create_network_postcommit

    def create_port_postcommit(self, context: Any) -> None:
        """A port is there.  One without a host is nobody's business yet."""
        if context.host:
            self.notices.changed([context.current["network_id"]])

    def update_port_postcommit(self, context: Any) -> None:
        """A port changed, was bound, unbound, or moved."""
        if context.host or context.original_host:
            self.notices.changed([context.current["network_id"]])

    delete_port_postcommit = create_port_postcommit
