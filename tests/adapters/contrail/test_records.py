"""What is known of VMIs: never older than what was written and confirmed, however late the server tells of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.meaning import ADDRESS, KINDS, NETWORK, VMI
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.notes import (
    HOME,
    WORKLOAD,
    Record,
    as_annotations,
    plug_key,
    plug_note,
    record_in,
    vmi_uuid,
    workload_note,
)
from isthmus.adapters.contrail.records import CATCHES_UP, Records
from isthmus.model.names import HostId, Mac, NetworkId, NicId, PortId, VmId
from isthmus.model.nve import Plug, Workload
from isthmus.model.tags import Vid, Vni

OWNER = "isthmus"
EARLY = st.sampled_from([0, 0, 1, 3, 100, -1])
"""How many words arrive between a write and its answer."""
NET = NetworkId("7e7e0000-0000-4000-8000-000000000001")
HOSTS = [HostId("esx1"), HostId("esx2"), HostId("esx3")]
VMS = [VmId(f"5029000{number}-0000-4000-8000-000000000001") for number in range(2)]


def workload(vm: VmId) -> Workload:
    nic = NicId(vm, 4000)
    return Workload(PortId(f"{nic}@{NET}"), NET, Vni(5), nic, Mac("00:50:56:00:00:01"), "vm")


def plug(vm: VmId, vid: int) -> Plug:
    work = workload(vm)
    return Plug(work.port, Vid(vid), NET, work.vni, work.nic, work.mac)


class Server:
    """What an api-server has, and every word it ever said of it, in their order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.words: list[tuple[str, str, dict[str, Any] | None]] = []

    def listed(self, kind: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        return copy.deepcopy(list(self.objects[kind].values()))

    def set(self, kind: str, uuid: str, fields: dict[str, Any] | None) -> None:
        if fields is None:
            self.objects[kind].pop(uuid, None)
        else:
            self.objects[kind][uuid] = fields
        self.words.append((kind, uuid, copy.deepcopy(fields)))

    def create(self, vm: VmId) -> str:
        work = workload(vm)
        uuid = vmi_uuid(work.port)
        fields = {
            "uuid": uuid,
            "fq_name": [uuid],
            "virtual_network_refs": [{"to": ["red"], "uuid": NET}],
            "virtual_machine_refs": [{"to": [vm], "uuid": vm}],
            "annotations": as_annotations({WORKLOAD: workload_note(work, OWNER, vm_is_ours=True), HOME: ""}),
        }
        self.set(VMI, uuid, fields)
        self.set(VMI, uuid, fields)  # its ref to the routing instance
        return uuid

    def note(self, uuid: str, notes: Mapping[str, str | None]) -> None:
        fields = copy.deepcopy(self.objects[VMI][uuid])
        held = {pair["key"]: pair["value"] for pair in fields["annotations"]["key_value_pair"]}
        held |= {key: value for key, value in notes.items() if value is not None}
        fields["annotations"] = as_annotations(
            {key: value for key, value in held.items() if notes.get(key, "") is not None}
        )
        self.set(VMI, uuid, fields)

    def address(self, uuid: str, address: str) -> None:
        refs = [{"to": [uuid], "uuid": uuid}]
        fields = {"uuid": f"ip-{uuid}", "fq_name": ["ip"], "instance_ip_address": address}
        self.set(ADDRESS, f"ip-{uuid}", {**fields, "virtual_machine_interface_refs": refs})

    def record(self, uuid: str) -> Record | None:
        """How it is there now."""
        fields = self.objects[VMI].get(uuid)
        found = self.objects[ADDRESS].get(f"ip-{uuid}")
        return None if fields is None else record_in(fields, OWNER, (found["instance_ip_address"],) if found else ())


class Telling(RuleBasedStateMachine):
    """Writes of ours and of others, and a stream that is late, cut, begun anew, or silent."""

    @initialize()
    def begin(self) -> None:
        self.server, self.mirror, self.now = Server(), Mirror(), 0.0
        self.records = Records(cast(ApiServer, self.server), OWNER, lambda: self.now, self.mirror)
        self.next_word, self.is_opened = 0, False
        """The first word that was not told yet."""
        self.theirs: dict[str, set[object]] = {}
        """The plugs that the other host noted on the VMI that is there now."""
        self.records.read()

    # --- what we do: ask the server, then say that it was confirmed

    @rule(vm=st.sampled_from(VMS), early=EARLY)
    def we_make_one(self, vm: VmId, early: int) -> None:
        uuid = vmi_uuid(workload(vm).port)
        if uuid not in self.server.objects[VMI]:
            with self.records.writing(uuid) as wrote:
                self.server.create(vm)
                self.meanwhile(early)
                wrote(None, self.server.record(uuid))
            self._check(uuid, self.server.record(uuid))

    @rule(vm=st.sampled_from(VMS), host=st.sampled_from(HOSTS[:2]), vid=st.sampled_from([101, 102, None]), early=EARLY)
    def we_note_a_plug(self, vm: VmId, host: HostId, vid: int | None, early: int) -> None:
        uuid = vmi_uuid(workload(vm).port)
        if uuid in self.server.objects[VMI]:
            seen = self.records.of(uuid) or Record(uuid)
            plugs = {at: other for at, other in seen.plugs.items() if at != host}
            after = replace(seen, plugs=plugs if vid is None else {**plugs, host: plug(vm, vid)})
            with self.records.writing(uuid) as wrote:
                self.server.note(uuid, {plug_key(host): None if vid is None else plug_note(plug(vm, vid), OWNER)})
                self.meanwhile(early)
                wrote(seen, after)
            self._check(uuid, after, host)

    @rule(vm=st.sampled_from(VMS), number=st.integers(3, 9), early=EARLY)
    def we_give_it_an_address(self, vm: VmId, number: int, early: int) -> None:
        uuid = vmi_uuid(workload(vm).port)
        if uuid in self.server.objects[VMI] and f"ip-{uuid}" not in self.server.objects[ADDRESS]:
            seen = self.records.of(uuid) or Record(uuid)
            after = replace(seen, addresses=(f"10.1.0.{number}",))
            with self.records.writing(uuid) as wrote:
                self.server.address(uuid, f"10.1.0.{number}")
                self.meanwhile(early)
                wrote(seen, after)
            self._check(uuid, after)

    @rule(vm=st.sampled_from(VMS), early=EARLY)
    def we_remove_it(self, vm: VmId, early: int) -> None:
        uuid = vmi_uuid(workload(vm).port)
        if uuid in self.server.objects[VMI]:
            seen = self.records.of(uuid)
            with self.records.writing(uuid) as wrote:
                if f"ip-{uuid}" in self.server.objects[ADDRESS]:
                    self.server.set(ADDRESS, f"ip-{uuid}", None)
                self.server.set(VMI, uuid, None)
                self.theirs.pop(uuid, None)
                self.meanwhile(early)
                wrote(seen, None)
            self._check(uuid, None)

    def _check(self, uuid: str, record: Record | None, host: HostId | None = None) -> None:
        known = self.records.read().get(uuid)
        if record is None or host is None:
            assert (known is None) == (record is None)
        else:
            assert known is not None
            assert known.plugs.get(host) == record.plugs.get(host)

    def meanwhile(self, early: int) -> None:
        """So many words arrive, or all of it is told, before the answer."""
        if early < 0:
            if self.is_opened and not self.mirror.is_whole:
                self.it_is_begun()
        else:
            self.words_arrive(early)

    # --- what others do

    @rule(vm=st.sampled_from(VMS), vid=st.sampled_from([103, None]))
    def another_host_notes_its_plug(self, vm: VmId, vid: int | None) -> None:
        uuid = vmi_uuid(workload(vm).port)
        if uuid in self.server.objects[VMI]:
            key = plug_key(HOSTS[2])
            if vid is not None:
                self.theirs.setdefault(uuid, set()).add(plug(vm, vid))
            self.server.note(uuid, {key: None if vid is None else plug_note(plug(vm, vid), OWNER)})

    # --- how it is told

    @rule(count=st.integers(1, 4))
    def words_arrive(self, count: int) -> None:
        if not self.mirror.is_whole:
            return
        for kind, uuid, fields in self.server.words[self.next_word : self.next_word + count]:
            if fields is None:
                self.mirror.drop(kind, uuid)
            else:
                self.mirror.put(kind, fields)
        self.next_word = min(self.next_word + count, len(self.server.words))

    @rule()
    def it_is_cut(self) -> None:
        self.mirror.end()

    @precondition(lambda self: not self.mirror.is_whole)
    @rule()
    def it_is_opened(self) -> None:
        """What is said from now on is told after the beginning, though that has it, too."""
        self.mirror.opening()
        self.next_word, self.is_opened = len(self.server.words), True

    @precondition(lambda self: self.is_opened and not self.mirror.is_whole)
    @rule()
    def it_is_begun(self) -> None:
        self.is_opened = False
        self.mirror.begin({kind: self.server.listed(kind, ()) for kind in KINDS})

    @rule(seconds=st.sampled_from([0.5, 3.0, CATCHES_UP + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def somebody_doubts(self) -> None:
        self.records.doubt()

    # --- what holds

    @invariant()
    def what_we_wrote_is_known(self) -> None:
        if not hasattr(self, "records"):
            return
        known = self.records.read()
        for vm in VMS:
            uuid = vmi_uuid(workload(vm).port)
            there, seen = self.server.record(uuid), known.get(uuid)
            # Nobody but us makes or removes one, or writes the keys of these hosts.
            assert (there is None) == (seen is None)
            if there is not None and seen is not None:
                assert seen.workload == there.workload
                assert [seen.plugs.get(host) for host in HOSTS[:2]] == [there.plugs.get(host) for host in HOSTS[:2]]
                assert seen.addresses == there.addresses
                assert seen.plugs.get(HOSTS[2]) in {None, *self.theirs.get(uuid, ())}

    @rule()
    def all_is_told_in_the_end(self) -> None:
        if self.mirror.is_whole:
            self.words_arrive(len(self.server.words))
        self.now += CATCHES_UP  # a doubt is over, and so is what a list holds
        known = self.records.read()
        there = {uuid: self.server.record(uuid) for uuid in self.server.objects[VMI]}
        assert dict(known) == there


TestTelling = Telling.TestCase
TestTelling.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_what_another_noted_on_a_vmi_is_gone_with_it_and_not_on_the_next_of_its_uuid() -> None:
    server, mirror = Server(), Mirror()
    records = Records(cast(ApiServer, server), OWNER, lambda: 0.0, mirror)
    mirror.opening()
    mirror.begin({kind: [] for kind in KINDS})
    uuid = vmi_uuid(workload(VMS[0]).port)

    def make() -> None:
        with records.writing(uuid) as wrote:
            server.create(VMS[0])
            wrote(None, server.record(uuid))

    def hear() -> None:
        for kind, which, fields in server.words:
            if fields is None:
                mirror.drop(kind, which)
            else:
                mirror.put(kind, fields)
        server.words.clear()

    make()
    hear()
    server.note(uuid, {plug_key(HOSTS[2]): plug_note(plug(VMS[0], 103), OWNER)})
    late = list(server.words)
    with records.writing(uuid) as wrote:
        before = records.of(uuid)
        server.set(VMI, uuid, None)
        wrote(before, None)
    after = server.words[len(late) :]
    server.words[:] = late
    hear()
    assert uuid not in records.read()
    make()
    assert records.read()[uuid].plugs == {}
    server.words[:] = [*after, *server.words]
    hear()
    assert records.read() == {uuid: server.record(uuid)}


def test_a_list_that_was_read_before_a_vmi_went_keeps_nothing_of_what_another_noted_on_it() -> None:
    server = Server()
    records = Records(cast(ApiServer, server), OWNER, lambda: 0.0, Mirror())
    uuid = server.create(VMS[0])
    before = records.read()[uuid]
    server.note(uuid, {plug_key(HOSTS[2]): plug_note(plug(VMS[0], 103), OWNER)})
    listed = server.listed

    def listed_slowly(kind: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        found = listed(kind, fields)
        if kind == VMI:
            with records.writing(uuid) as wrote:
                server.set(VMI, uuid, None)
                wrote(before, None)
        return found

    server.listed = listed_slowly  # type: ignore[method-assign]
    records.doubt()
    assert records.read() == {}


def test_a_note_on_a_vmi_of_another_program_is_not_waited_for_when_another_host_noted_there_first() -> None:
    server, mirror = Server(), Mirror()
    records = Records(cast(ApiServer, server), OWNER, lambda: 0.0, mirror)
    uuid = server.create(VMS[0])
    server.note(uuid, {WORKLOAD: None, HOME: None})
    mirror.opening()
    mirror.begin({kind: server.listed(kind, ()) for kind in KINDS})
    before = Record(uuid)
    server.note(uuid, {plug_key(HOSTS[2]): plug_note(plug(VMS[0], 103), OWNER)})
    mirror.put(VMI, server.objects[VMI][uuid])
    with records.writing(uuid) as wrote:
        server.note(uuid, {plug_key(HOSTS[0]): plug_note(plug(VMS[0], 101), OWNER)})
        wrote(before, replace(before, plugs={HOSTS[0]: plug(VMS[0], 101)}))
    mirror.put(VMI, server.objects[VMI][uuid])
    assert records.read() == {uuid: server.record(uuid)}
    assert not records._unheard.uuids()


def test_what_another_process_writes_wakes_its_hosts_and_what_we_wrote_ourselves_wakes_nobody() -> None:
    server, mirror = Server(), Mirror()
    records = Records(cast(ApiServer, server), OWNER, lambda: 0.0, mirror)
    woken: list[frozenset[HostId] | None] = []
    records.wake = woken.append
    mirror.opening()
    mirror.begin({kind: [] for kind in KINDS})
    assert woken == [None]
    uuid = vmi_uuid(workload(VMS[0]).port)
    with records.writing(uuid) as wrote:
        server.create(VMS[0])
        wrote(None, server.record(uuid))
    for kind, _, fields in server.words:
        mirror.put(kind, fields or {})
    assert woken == [None]
    server.note(uuid, {plug_key(HOSTS[1]): plug_note(plug(VMS[0], 103), OWNER)})
    mirror.put(VMI, server.objects[VMI][uuid])
    assert woken == [None, frozenset({HOSTS[1]})]
    mirror.put(NETWORK, {"uuid": NET, "fq_name": ["red"]})
    assert len(woken) == 2


class Story:
    """One VMI, whose plug of one host we write, and whose words we let arrive one by one."""

    def __init__(self) -> None:
        self.server, self.mirror = Server(), Mirror()
        self.records = Records(cast(ApiServer, self.server), OWNER, lambda: 0.0, self.mirror)
        self.uuid = self.server.create(VMS[0])
        self.vid = 0

    def opens(self) -> None:
        self.mirror.opening()
        self.unheard = len(self.server.words)

    def begins(self) -> None:
        self.mirror.begin({kind: self.server.listed(kind, ()) for kind in KINDS})
        self.knows()

    def writes(self, vid: int, *, early: int = 0) -> None:
        """`early`: how many words arrive before the answer."""
        before = self.records.of(self.uuid)
        assert before is not None
        with self.records.writing(self.uuid) as wrote:
            self.server.note(self.uuid, {plug_key(HOSTS[0]): plug_note(plug(VMS[0], vid), OWNER)})
            for _ in range(early):
                self.hears()
            wrote(before, replace(before, plugs={**before.plugs, HOSTS[0]: plug(VMS[0], vid)}))
        self.vid = vid

    def hears(self) -> None:
        kind, _, fields = self.server.words[self.unheard]
        self.unheard += 1
        self.mirror.put(kind, fields or {})

    def hears_all(self) -> None:
        while self.unheard < len(self.server.words):
            self.hears()
            self.knows()

    def knows(self) -> None:
        """What was written last, wherever the telling is."""
        known = self.records.read()[self.uuid]
        assert known == self.records.of(self.uuid)
        assert known.plugs[HOSTS[0]].vid == self.vid


def test_what_went_while_nobody_told_of_it_is_gone_though_nothing_else_is_there() -> None:
    server, mirror = Server(), Mirror()
    records = Records(cast(ApiServer, server), OWNER, lambda: 0.0, mirror)
    uuid = server.create(VMS[0])
    for there in ({uuid}, set()):
        mirror.opening()
        mirror.begin({kind: server.listed(kind, ()) for kind in KINDS})
        assert records.read().keys() == there
        mirror.end()
        server.set(VMI, uuid, None)


def test_a_value_written_before_and_after_another_is_known_until_all_three_are_told() -> None:
    story = Story()
    story.opens()
    story.mirror.begin({kind: story.server.listed(kind, ()) for kind in KINDS})
    for vid in (101, 102, 101):
        story.writes(vid)
    story.hears_all()
    assert not story.records._unheard.uuids()


def test_a_word_of_an_earlier_write_that_comes_before_an_answer_is_not_taken_for_that_of_the_later_one() -> None:
    story = Story()
    story.opens()
    story.mirror.begin({kind: story.server.listed(kind, ()) for kind in KINDS})
    for vid in (101, 102):
        story.writes(vid)
    story.writes(101, early=2)
    story.knows()
    story.hears_all()
    assert not story.records._unheard.uuids()


def test_what_is_written_while_a_stream_begins_counts_though_it_is_told_after_the_beginning() -> None:
    story = Story()
    story.opens()
    for vid in (101, 102, 103):
        story.writes(vid)
    story.begins()
    story.hears_all()


def test_what_is_written_while_a_list_is_read_is_not_lost_with_it() -> None:
    story = Story()
    story.writes(101)
    listed = story.server.listed

    def listed_slowly(kind: str, fields: Sequence[str]) -> list[dict[str, Any]]:
        found = listed(kind, fields)
        if kind == VMI and story.vid == 101:
            with story.records.writing(story.uuid) as wrote:
                before = replace(record_in(found[0], OWNER))
                story.server.note(story.uuid, {plug_key(HOSTS[0]): plug_note(plug(VMS[0], 102), OWNER)})
                wrote(before, replace(before, plugs={HOSTS[0]: plug(VMS[0], 102)}))
            story.vid = 102
        return found

    story.server.listed = listed_slowly  # type: ignore[method-assign]
    story.records.doubt()
    story.records.read()
    story.knows()


def test_who_does_not_tell_of_a_write_in_time_is_given_up() -> None:
    story = Story()
    story.opens()
    story.mirror.begin({kind: story.server.listed(kind, ()) for kind in KINDS})
    story.writes(101)
    story.records._clock = lambda: CATCHES_UP - 1
    story.knows()
    assert story.mirror.is_whole
    story.records._clock = lambda: CATCHES_UP + 1
    story.knows()
    assert not story.mirror.is_whole
