"""A Contrail api-server as a source of intent: its virtual networks, and its VMIs where others make them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence

from isthmus.adapters.contrail.api import ApiServer, Fields
from isthmus.adapters.contrail.feed import Feed
from isthmus.adapters.contrail.meaning import (
    ADDRESS,
    ADDRESS_FIELDS,
    KINDS,
    NETWORK,
    NETWORK_FIELDS,
    PORT_FIELDS,
    VMI,
    Choice,
    intent_of,
    narrow,
)
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.model.boundary import Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.names import NetworkId

log = logging.getLogger("isthmus")
POLL = 5.0
"""Seconds between two looks where nobody tells of changes."""


class ContrailIntent:
    """An IntentSource over REST: by what the api-server tells, and where it does not by looking every few seconds.

    What is told may come late, so who would take something away that is not in it asks for what is there: see `doubt`.
    """

    def __init__(
        self,
        api: ApiServer,
        choice: Choice,
        poll: float = POLL,
        *,
        mirror: Mirror | None = None,
        feed: Feed | None = None,
    ) -> None:
        self._api, self._choice, self._poll = api, choice, poll
        self._mirror, self._feed = mirror or Mirror(), feed
        self._mirror.listeners.append(self)
        self._fields: dict[str, tuple[str, ...]] = {NETWORK: NETWORK_FIELDS}
        if choice.listed:
            self._fields |= {VMI: PORT_FIELDS, ADDRESS: ADDRESS_FIELDS}
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._wake: Wake = lambda hosts: None
        self._last: Intent | None = None
        self._versions: Sequence[int | None] = ()
        self._names: Mapping[str, Sequence[str]] = {}
        self._doubts = self._settled = 0
        self._asked_at = time.monotonic()

    def read(self) -> Intent:
        """The whole intent.  Raises Retry if a list cannot be had whole, Refused if the server refuses one."""
        doubts = self._doubts
        if doubts > self._settled:
            self._last = self._asked()
            self._settled = max(self._settled, doubts)
        elif (told := self._as_told()) is not None:
            self._last = told
        else:
            self._last = self._asked()
        return self._last

    def holds(self) -> bool:
        """Whether what was read last is what the server has told since."""
        versions = self._versions_now()
        return None not in versions and versions == self._versions and self._doubts == self._settled

    def doubt(self) -> None:
        """The next reading asks the server, whatever it has told."""
        self._doubts += 1

    def silence(self) -> float:
        """Seconds since the server's last word, asked for or not."""
        heard = self._feed.heard_at if self._feed is not None and self._mirror.is_whole else self._asked_at
        return time.monotonic() - max(heard, self._asked_at)

    def remark(self) -> str:
        """How changes are heard of."""
        if self._feed is None or self._mirror.is_whole:
            return f"tells of changes by {self._feed.way}" if self._feed is not None else ""
        return f"is looked at every {self._poll:g} s, as it does not tell of changes: {self._feed.why}"

    def named(self, network: NetworkId) -> Sequence[str]:
        """Domain, project and name of a network that was read.  Raises Retry for one that was not."""
        try:
            return self._names[network]
        except KeyError:
            raise Retry(f"network {network}: the api-server has not told of it yet") from None

    def watch(self, wake: Wake) -> None:
        """Listen, or look again and again; wake everybody when what is there is not what was read last."""
        if self._watcher is None:
            self._wake = wake
            self._watcher = threading.Thread(target=self._look, name="contrail-intent", daemon=True)
            self._watcher.start()
            if self._feed is not None:
                self._feed.start()

    def close(self) -> None:
        """Look and listen no more."""
        self._stopping.set()
        if self._feed is not None:
            self._feed.close()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=self._poll + 1)

    # --- what the mirror says

    def opening(self) -> None:
        """Nothing of ours is written to what is read here."""

    def begun(self) -> None:
        """It may be another than what was read before."""
        self._wake(None)

    def changed(self, kind: str, uuid: str, before: Fields | None, after: Fields | None) -> None:
        """Something was told: whether it is news depends on the fields that make intent."""
        fields = self._fields.get(kind)
        if fields is not None and any(
            (before or {}).get(name) != (after or {}).get(name) for name in ("uuid", *fields)
        ):
            self._wake(None)

    def ended(self) -> None:
        """From now on it is looked at."""

    def _versions_now(self) -> Sequence[int | None]:
        return tuple(self._mirror.version(kind) for kind in self._fields)

    def _as_told(self) -> Intent | None:
        """None if nobody tells."""
        versions = self._versions_now()
        lists = {kind: self._mirror.listed(kind) for kind in self._fields}
        if any(found is None for found in lists.values()):
            return None
        self._versions = versions
        return self._made({kind: found or [] for kind, found in lists.items()})

    def _asked(self) -> Intent:
        self._versions = ()
        lists = {kind: [narrow(kind, one) for one in self._api.listed(kind, KINDS[kind])] for kind in self._fields}
        if any(_uuids(self._mirror.listed(kind)) not in (None, _uuids(found)) for kind, found in lists.items()):
            self._mirror.end()  # it tells late
        self._asked_at = time.monotonic()
        return self._made(lists)

    def _made(self, lists: Mapping[str, Sequence[Fields]]) -> Intent:
        networks = lists[NETWORK]
        self._names = {fields["uuid"]: fields["fq_name"] for fields in networks}
        return intent_of(self._choice, networks, lists.get(VMI, ()), lists.get(ADDRESS, ()))

    def _look(self) -> None:
        while not self._stopping.wait(self._poll):
            if self._mirror.is_whole:
                continue
            try:
                now = self._asked()
            except (Retry, Refused):  # who reads says so
                continue
            except Exception as bug:  # this thread must not end of it; who reads ends his round with it
                log.exception("looking at the api-server: a bug: %r", bug)
                continue
            if now != self._last:
                self._last = now
                self._wake(None)


def _uuids(found: Sequence[Fields] | None) -> set[str] | None:
    return None if found is None else {fields["uuid"] for fields in found}
