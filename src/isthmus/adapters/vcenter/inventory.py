"""The live inventory of a vCenter: a thread of its own, on a session of its own, keeps a mirror and wakes.

Law: the thread only mirrors and wakes.  What was once whole is served only while the thread can vouch for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any, TypeAlias

from pyVmomi import vmodl

from isthmus.adapters.vcenter.credentials import Credentials
from isthmus.adapters.vcenter.faults import SessionLost, faults_of, meaning, said
from isthmus.adapters.vcenter.feed import Feed, News
from isthmus.adapters.vcenter.mirror import Mirror
from isthmus.adapters.vcenter.moves import Moves, ports_of
from isthmus.adapters.vcenter.naming import plain
from isthmus.adapters.vcenter.nics import Unclear
from isthmus.adapters.vcenter.session import Session, VcenterSettings
from isthmus.adapters.vcenter.told import Told
from isthmus.model.boundary import Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.inventory import Inventory, Move
from isthmus.model.names import ClusterId, HostId, NicId

log = logging.getLogger(__name__)
FIRST_DELAY, LAST_DELAY = 1.0, 60.0
EVENTS_AGAIN = 300.0
HEAD_START = 0.02  # seconds for the hosts where something happened: somebody waits for it there
CATCH_UP = 5  # answers taken by a reader without a thread, where changes never pause
Place: TypeAlias = tuple[Told, int]
"""A moment in what vCenter told of changes."""
LOST: Any = (
    SessionLost,
    vmodl.fault.RequestCanceled,  # vSphere API: what a wait under way gets when its session is closed
    vmodl.query.InvalidCollectorVersion,
    vmodl.fault.ManagedObjectNotFound,
    Unclear,
)


class LiveInventory:
    """An InventorySource.  Until `watch`, `read` pulls what is new itself; from then on it is free of I/O.

    `only_hosts` (names) is for a process that serves few hosts.  Every VM stays in the mirror all the same, about
    1 kB each: which peers matter is known only to who knows the networks.  Others' NICs are passed without labels.
    `machines` are the BIOS UUIDs of VMs that are asked for.
    """

    def __init__(
        self,
        settings: VcenterSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        only_hosts: frozenset[str] | None = None,
        machines: frozenset[str] = frozenset(),
        idle_work: Callable[[], None] = lambda: None,
        credentials: Credentials | None = None,
    ) -> None:
        self._settings, self._clock, self._idle_work = settings, clock, idle_work
        self._only, self._machines = only_hosts, machines
        self._session = Session(settings, clock=clock, credentials=credentials)
        self._moves = Moves(settings.move_deadline, clock)
        self._pulling = threading.Lock()  # guards the feed, which only who holds it may wait on
        self._feed: Feed | None = None
        self._events_tried: float | None = None
        self._heard = clock()
        self._last_word = clock()
        self._state = threading.Condition()  # guards the mirrors and what follows
        self._served: Feed | None = None  # the last feed that was whole
        self._trouble: Exception | None = None
        self._snapshot: tuple[Mirror, int, Inventory] | None = None
        self._wakes: list[Wake] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- for the loop --------------------------------------------------------------------------------------------

    def read(self) -> Inventory:
        """The whole inventory."""
        if self._thread is None:
            with self._pulling:
                self._pull_until_whole()
        with self._state:
            if not self._state.wait_for(lambda: self._current or self._trouble, self._settings.timeout):
                raise Retry(f"{self._settings.place}: its inventory is still being read")
            if self._trouble is not None:
                raise self._trouble
            if self._thread is not None and self.silence() > self._longest_silence:
                raise Retry(f"{self._settings.place}: no word from it for more than {self._longest_silence:.0f} s")
            return self._inventory()

    def silence(self) -> float:
        """Seconds since vCenter last told anything, if only that nothing happened, as it does after each wait."""
        return self._clock() - self._last_word

    @property
    def _longest_silence(self) -> float:
        return 2 * self._settings.wait + self._settings.timeout

    @property
    def _current(self) -> bool:
        """What is served is what vCenter is still telling."""
        return self._served is not None and self._served is self._feed

    def watch(self, wake: Wake) -> None:
        """Begin to call `wake`."""
        self._wakes.append(wake)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vcenter-inventory", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the thread, log out, hang up."""
        self._stop.set()
        if self._thread is not None:
            self._session.sever()
            self._thread.join(2.0)
        self._session.close()

    # -- for the switches ----------------------------------------------------------------------------------------

    def nic_of(self, vm: str, key: int) -> NicId | None:
        """The NIC of the VM with this moref, as far as the mirror knows."""
        with self._state:
            return self._mirror().nic_of(vm, key)

    def knows(self, nic: tuple[str, int] | None) -> bool:
        """Whether this VM (moref) and device key, if there is one, can be named before the next `read`."""
        with self._state:
            served = self._served
            return served is not None and (nic is None or served.mirror.nic_of(*nic) is not None)

    def host_of(self, vm: str) -> HostId | None:
        """Where the VM with this moref runs, as far as the mirror knows."""
        with self._state:
            mirror = self._mirror()
            known = mirror.vms.get(vm)
            return mirror.host_id(known.host) if known and known.host else None

    def host_id(self, host: str) -> HostId:
        """The id of the host with this moref."""
        with self._state:
            return self._mirror().host_id(host)

    def clusters(self) -> dict[ClusterId, str]:
        """The clusters and their names."""
        self.read()
        with self._state:
            mirror = self._mirror()
            return {ClusterId(f"{mirror.instance}/{moref}"): plain(name) for moref, name in mirror.clusters.items()}

    def machine_places(self, bios_uuid: str) -> dict[str, str]:
        """The VMs (morefs) with a BIOS UUID that was asked for, each with the host (moref) where it is."""
        with self._state:
            return self._mirror().machine_places().get(bios_uuid, {})

    def place(self) -> Place | None:
        """Where vCenter's telling of changes stands, for `told_since`; None while nothing is told."""
        with self._state:
            if self._thread is None or not self._current or self._trouble is not None or self._served is None:
                return None
            told = self._served.mirror.told
            return told, told.count

    def told_since(self, place: Place, switch: str) -> tuple[Place | None, Set[str] | None]:
        """Where it stands now, and the keys of this switch's (uuid) ports that may have changed; None: all may have."""
        now = self.place()
        if now is None or now[0] is not place[0]:
            return now, None
        with self._state:
            return now, place[0].since(place[1], switch)

    def _mirror(self) -> Mirror:
        if self._served is None:
            raise Retry(f"{self._settings.place}: its inventory was not read yet")
        return self._served.mirror

    def _inventory(self) -> Inventory:
        mirror = self._mirror()
        if self._snapshot is None or self._snapshot[:2] != (mirror, mirror.generation):
            known = Inventory(
                mirror.hosts(),
                mirror.dvses(),
                mirror.nics(),
                left_out=mirror.left_out(),
                machines=mirror.machines(),
            )
            self._snapshot = (mirror, mirror.generation, known)
        moves = (
            Move(vm, mirror.host_id(to), seen)
            for moref, (to, seen) in self._moves.pending().items()
            if (vm := mirror.vm_id(moref)) is not None
        )
        return replace(self._snapshot[2], moves=tuple(moves))

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = FIRST_DELAY
        while not self._stop.is_set():
            try:
                with self._pulling:
                    news = self._pull(self._settings.wait)
                delay = FIRST_DELAY
                self._spread(news)
            except Exception as trouble:
                if self._stop.is_set():
                    return
                self._suffer(trouble)
                self._stop.wait(delay)
                delay = min(2 * delay, LAST_DELAY)
            with contextlib.suppress(Exception):  # the session's own user meets its faults
                self._idle_work()

    def _suffer(self, trouble: Exception) -> None:
        if not isinstance(trouble, Retry | Refused):
            log.exception("%s: the inventory watch met a bug and starts anew", self._settings.place)
        elif str(trouble) != str(self._trouble):
            log.warning("inventory is not current: %s", trouble)
        with self._state:
            self._trouble = trouble
            self._state.notify_all()

    def _spread(self, news: News) -> None:
        """Wake who is concerned: the hosts of what changed, and those whose VMs talk to it in its port groups."""
        if not self._current:
            return
        with self._state:
            mirror = self._mirror()
            here = frozenset(map(mirror.host_id, news.hosts))
            peers = frozenset(map(mirror.host_id, mirror.hosts_in(news.groups))) if news.hosts else here
        for wake in self._wakes:
            if news.everywhere:
                wake(None)
                continue
            if here:
                wake(here)
            if others := peers - here:
                self._stop.wait(HEAD_START if here else 0.0)
                wake(others)

    # -- reading -------------------------------------------------------------------------------------------------

    def _pull_until_whole(self) -> None:
        """Without a thread: everything up to now."""
        for _ in range(CATCH_UP):
            news = self._pull(0)
            if self._current and not news.any:
                break
        while not self._current:
            self._pull(0)

    def _pull(self, patience: float) -> News:
        """Take in one answer of vCenter's; begins anew if the session or the collector was lost."""
        with faults_of(self._settings.place):
            for _ in range(3):
                try:
                    return self._pull_once(patience)
                except LOST as fault:
                    log.info("%s: inventory is read anew: %s", self._settings.place, said(fault))
                    if isinstance(fault, SessionLost):
                        self._session.lost(self._session.epoch)
                    self._feed = None
            raise Retry(f"{self._settings.place}: its inventory could not be read whole")

    def _pull_once(self, patience: float) -> News:
        feed = self._current_feed()
        if self._stop.is_set():
            return News()
        # While there is trouble any answer, also that nothing happened, says that it is over.
        patience = patience if feed.whole and self._trouble is None else 0
        with self._session.waiting(patience):  # before vCenter answers that nothing happened
            answer = feed.wait(patience)
        self._last_word = self._clock()
        with self._state:
            try:
                news = feed.take(answer)
            except Exception:
                self._feed = None  # half of an answer is no state to go on from
                raise
        if feed.whole:
            uplinks = feed.read_uplinks()
            with self._state:
                news.everywhere |= uplinks is not None and feed.mirror.learn_uplinks(uplinks)
                news.everywhere |= self._serve(feed)
        # A collector that stalled or died says nothing, so it is asked now and then.
        if news.events or self._clock() - self._heard > self._settings.wait:
            self._hear(feed, news)
        return news

    def _current_feed(self) -> Feed:
        content = self._session.raw(lambda content: content)
        if self._feed is None or self._feed.epoch != self._session.epoch:
            self._feed = Feed(
                content,
                self._session.epoch,
                self._only,
                self._machines,
                reads_guests=self._settings.reads_guests,
            )
            self._events_tried = None
        if self._feed.events is None and (
            self._events_tried is None or self._clock() - self._events_tried >= EVENTS_AGAIN
        ):
            self._events_tried = self._clock()
            self._feed.read_events(self._session.server_time(), self._settings.move_deadline)
            with self._state:  # what happened since the last ones
                self._feed.mirror.told.everything()
        return self._feed

    def _serve(self, feed: Feed) -> bool:
        """Answer from this feed's mirror from now on; True if that is news."""
        if self._served is feed and self._trouble is None:
            return False
        if self._served is not feed:
            feed.mirror.told.forget()  # the first reading told every port there is, before anybody kept a place in it
        self._served, self._trouble = feed, None
        self._state.notify_all()
        return True

    def _hear(self, feed: Feed, news: News) -> None:
        """Take in the events that wait.  A collector that fails is made anew later; the inventory goes on."""
        if feed.events is None:
            self._heard = self._clock()
            return
        page = news.page
        if self._clock() - self._heard > self._settings.wait:
            page, self._heard = [], self._clock()  # it is time to ask whether there are others
        try:
            events = feed.events.news(page)
            with self._state:
                for event in events:
                    if hosts := self._moves.take(event):
                        news.hosts |= hosts
                        # Its peers send to both hosts while it moves.
                        news.groups |= feed.mirror.groups_of(event.vm.vm._GetMoId())
                for switch, keys in ports_of(events).items():
                    news.hosts |= feed.mirror.change_ports(switch, keys)
        except Exception as fault:  # what was read before is not read again
            feed.events = None
            with self._state:
                feed.mirror.told.everything()
            text = "%s: its events stopped and are begun anew: %s"
            if isinstance(fault, vmodl.MethodFault) and not isinstance(fault, SessionLost):
                log.warning(text, self._settings.place, said(fault))
            elif meaning(fault, self._settings.place) is None:  # a bug, which the same events would meet again at once
                log.exception(text, self._settings.place, said(fault))
            else:
                self._events_tried = None  # begun anew as soon as vCenter answers
                raise
