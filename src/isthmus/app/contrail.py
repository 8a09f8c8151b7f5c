"""Contrail as this process knows it: its api-server as the source of intent, and the vRouter agents of hosts."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping

from isthmus.adapters.contrail.agent import VrouterAgent
from isthmus.adapters.contrail.amiss import of_older_programs, unknown_agents
from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.bus import Bus
from isthmus.adapters.contrail.feed import Feed
from isthmus.adapters.contrail.holders import holders_of
from isthmus.adapters.contrail.http import Http, basic_auth
from isthmus.adapters.contrail.identity import NOBODY, Fixed, Identity, Token, User
from isthmus.adapters.contrail.intent import ContrailIntent
from isthmus.adapters.contrail.meaning import Choice, project_named
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.objects import Objects
from isthmus.adapters.contrail.records import Records
from isthmus.adapters.contrail.vrouter import VrouterTarget
from isthmus.app.config import ContrailConfig, DeploymentConfig
from isthmus.app.finding import Finding, Level
from isthmus.app.observing import Clock
from isthmus.app.settings import Settings
from isthmus.app.text import plain
from isthmus.core.design import NveKind
from isthmus.model.boundary import Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.inventory import Host
from isthmus.model.names import HostId, NetworkId

CONNECTIONS = 8
"""To the api-server: so many hosts are served without one waiting for another."""
AGENT_PORT = 9091


class ContrailSide:
    """Connects to nobody before it is asked to."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        contrail = settings.config.intent.contrail
        if contrail is None:
            raise Refused("Contrail is not where the intent comes from")
        self._clock = clock
        http = Http(
            contrail.url,
            place="the Contrail api-server",
            kind="an api-server",
            timeout=contrail.timeout,
            tls=_trust(contrail),
            connections=CONNECTIONS,
        )
        api = self._api = ApiServer(http, _identity(settings, contrail))
        self._adopts, self._deployments = contrail.adopt, settings.config.deployment
        self._owner = settings.config.installation
        choice = Choice(
            frozenset(map(project_named, contrail.projects)),
            listed=contrail.mode == "vcenter-as-compute",
            reads_guests=contrail.guest_addresses,
        )
        mirror = Mirror()
        ca_file = str(contrail.ca_file) if contrail.ca_file is not None else None
        bus = Bus(settings.contrail_bus_url, ca_file) if contrail.listens_to_bus else None
        self._feed = Feed(api, mirror, bus)
        self.intent = ContrailIntent(api, choice, contrail.poll, mirror=mirror, feed=self._feed)
        self._records = Records(api, settings.config.installation, clock, mirror)
        self._objects = Objects(api, self._records, self.intent.named, adopts=contrail.adopt)

    def watch(self, wake: Wake) -> None:
        """Be told, too, of what others change about workloads and plugs."""
        self._records.wake = wake

    def vrouter(self, deployment: DeploymentConfig, host: Host, may_write: Callable[[], bool]) -> VrouterTarget:
        """A host's vRouter agent, with what is kept from there on the api-server."""
        agent = VrouterAgent(agent_of(deployment, host.name), host=host.name)
        return VrouterTarget(host.id, agent, self._objects, self._clock, may_write)

    def findings(self) -> Iterator[Finding]:
        """What the api-server has that an operator should know of: that of older programs first."""
        remedy = "ports of VMs here are taken over when isthmus needs them; remove the rest once nobody uses it"
        if not self._adopts:
            remedy = "with adopt = true ports of VMs here become isthmus's, and their VMs keep their addresses"
        try:
            for what in of_older_programs(self._api, self._owner):
                yield Finding(Level.WARNING, "Contrail", plain(what, 1000), remedy)
            for name, deployment in self._deployments.items():
                agents = [(host, agent_of(deployment, host)) for host in deployment.served]
                if deployment.design.nve is NveKind.VROUTER:
                    for host, what in unknown_agents(self._api, agents):
                        here = f'deployment.{name}.host."{plain(host)}".vrouter'
                        yield Finding(Level.WARNING, here, plain(what, 300), "correct 'vrouter' or 'vtep'")
        except (Refused, Retry) as fault:
            yield Finding(Level.ERROR, "Contrail", str(fault))

    def holders(self, network: NetworkId, hosts: Mapping[HostId, str]) -> list[str]:
        """What keeps the api-server from removing a network."""
        try:
            return holders_of(self._api, network, self._owner, hosts)
        except (Refused, Retry) as fault:
            return [f"what else, the api-server does not say: {fault}"]

    def close(self) -> None:
        """Look no more, and hang up."""
        self.intent.close()
        self._api.close()


def agent_of(deployment: DeploymentConfig, host: str) -> str:
    """Where a host's vRouter agent is: as configured, else at its VTEP."""
    own = deployment.host[host]
    return own.vrouter or f"http://{own.vtep}:{AGENT_PORT}"


def _identity(settings: Settings, contrail: ContrailConfig) -> Identity:
    if contrail.user is None:
        return NOBODY
    if contrail.keystone is None:
        return Fixed(basic_auth(contrail.user, settings.contrail_password()))
    keystone = contrail.keystone
    http = Http(
        keystone.url,
        place="Keystone",
        kind="a Keystone v3",
        timeout=contrail.timeout,
        tls=_trust(contrail),
        connections=1,
    )
    names = contrail.user, keystone.user_domain, keystone.project, keystone.project_domain
    return Token(http, User(*names, settings.contrail_password))


def _trust(contrail: ContrailConfig) -> ssl.SSLContext | None:
    """None: as the system trusts."""
    if contrail.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(contrail.ca_file))
    except (OSError, ssl.SSLError) as fault:
        raise Refused(
            f"intent.contrail.ca_file: {contrail.ca_file} holds no certificates that can be read: {fault}"
        ) from fault
