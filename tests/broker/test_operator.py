"""The table of what an operator may ask: fields, refusals, answers, what is written down."""

from __future__ import annotations

import pytest

from chatbroker.broker.members import NotAdmitted
from chatbroker.broker.operator import ACTIONS, KEYS_PAGE, LONGEST, PAGE, Operator, Surroundings
from chatbroker.broker.sanctions import CannotKeep
from chatbroker.wire.errors import Code
from chatbroker.wire.keys import key_text
from chatbroker.wire.limits import MAX_WORDS
from chatbroker.wire.messages import Farewell, Notice

NOON = 1_700_000_000_000
KEY = b"k" * 32
SPELLED = key_text(KEY)
OTHER_VERSION = "this broker cannot do that; is it of another version than this command?"


class Office:
    """An operator's table over the core of a world."""

    def __init__(self, world):
        self.world = world
        self.written = []
        self.admitted = {}
        self.sanctions = world.broker._registry.sanctions
        around = Surroundings(
            world.perform,
            lambda keys: [i for key in keys for i in self.admitted.get(key, [])],
            lambda event, **fields: self.written.append((event, fields)),
            lambda: {"how": "well"},
            lambda: NOON,
        )
        self._operator = Operator(world.broker.hand, self.sanctions, around)

    def asks(self, do, *, held=False, time=NOON, **fields):
        answer = self._operator.carry_out({"do": do, **fields}, 7, time, held)
        self.world.turn()
        return answer

    def refuses(self, do, **fields):
        answer = self.asks(do, **fields)
        assert answer["ok"] is False
        assert set(answer) == {"ok", "words"}
        assert "\n" not in answer["words"]
        return answer["words"]


@pytest.fixture
def office(world):
    return Office(world)


# --- what is asked wrongly ----------------------------------------------------------------


@pytest.mark.parametrize("do", ["dance", "", None, 7, [], {}, True])
def test_what_is_not_in_the_table_is_refused(office, do):
    assert office.refuses(do) == OTHER_VERSION


@pytest.mark.parametrize("do", [d for d, a in ACTIONS.items() if "name" in a.fields])
@pytest.mark.parametrize("name", [None, 7, [], {}, True, "", "no name", "\ud800", "x" * 10_000])
def test_a_name_that_is_none_is_refused(office, do, name):
    office.refuses(do, name=name)
    assert office.written == []


@pytest.mark.parametrize("do", ["kick", "ban", "mute"])
@pytest.mark.parametrize("reason", [7, [], "a\nb", "\x1b[31m", "\ud800", "x" * 201])
def test_a_reason_that_is_none_is_refused(office, world, do, reason):
    bob = world.joins("bob")
    office.refuses(do, name="bob", reason=reason)
    assert bob.hears() == []


@pytest.mark.parametrize("do", ["ban", "mute"])
@pytest.mark.parametrize(
    "seconds",
    [
        0,
        -1,
        True,
        False,
        "90s",
        [],
        float("nan"),
        float("inf"),
        -float("inf"),
        LONGEST + 1,
        10**400,
    ],
)
def test_a_time_that_is_none_is_refused(office, do, seconds):
    words = office.refuses(do, name="bob", seconds=seconds)
    assert words.startswith("how long it lasts is a number of seconds")
    assert office.asks("bans", kind=do, after="")["listed"] == []


@pytest.mark.parametrize(
    "words", [None, 7, [], "", " \t", "\ud800", "x" * (MAX_WORDS + 1), "ü" * MAX_WORDS]
)
def test_an_announcement_that_is_none_is_refused(office, world, words):
    alice = world.joins("alice")
    office.refuses("announce", words=words)
    assert alice.hears() == []


@pytest.mark.parametrize("fields", [{}, {"kind": "x"}, {"kind": "ban"}, {"kind": [], "after": ""}])
def test_a_list_of_nothing_that_there_is_is_refused(office, fields):
    assert office.refuses("bans", **fields) == OTHER_VERSION


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"begin": ""},
        {"only_held": True},
        {"begin": 7, "only_held": True},
        {"begin": "", "only_held": 1},
    ],
)
def test_names_that_are_not_well_asked_for_are_refused(office, fields):
    assert office.refuses("names", **fields) == OTHER_VERSION


# --- what is done -------------------------------------------------------------------------


def test_names_are_told_and_nothing_is_written_down(office, world):
    world.joins("alice")
    world.joins("bob")
    answer = office.asks("names", begin="a", only_held=True)
    assert answer == {"ok": True, "names": ["alice"], "more": False}
    assert office.written == []


def test_a_kick_is_told_and_written_down(office, world):
    bob = world.joins("bob")
    assert office.asks("kick", name="BOB", reason="too loud") == {"ok": True, "sessions": 1}
    words = "'bob' was kicked by the broker's operator (too loud)"
    assert bob.hears() == [Farewell("kicked", words)]
    written = {"by": 7, "user": "bob", "reason": "too loud", "sessions": 1}
    assert office.written == [("kick", written)]
    assert office.refuses("kick", name="bob") == ("nobody is on as 'bob'; 'chat info' tells who is")
    assert len(office.written) == 1


def test_a_ban_ends_sessions_and_holds_for_its_time(office, world):
    bob = world.joins("bob")
    asked = {"name": "Bob", "reason": "spam", "seconds": 60}
    assert office.asks("ban", **asked) == {"ok": True, "sessions": 1, "known": True}
    words = "'bob' is banned until 2023-11-14T22:14:20.000Z (spam)"
    assert bob.hears() == [Farewell("banned", words)]
    assert world.connects().joins("bob").codes == ["banned"]
    until = "2023-11-14T22:14:20.000Z"
    assert office.written == [
        ("ban", {"by": 7, "user": "bob", "reason": "spam", "until": until, "sessions": 1})
    ]
    office.sanctions.at(NOON + 60_000)
    assert world.joins("bob")


def test_a_ban_needs_nobody_there(office, world):
    assert office.asks("ban", name="bob") == {"ok": True, "sessions": 0, "known": False}
    assert world.connects().joins("bob").codes == ["banned"]
    assert office.asks("unban", name="BOB") == {"ok": True}
    assert world.joins("bob")
    assert office.refuses("unban", name="bob") == (
        "'bob' is not banned; 'chatbroker bans' tells who is"
    )
    assert [event for event, _ in office.written] == ["ban", "unban"]


def test_a_key_is_banned_with_whom_it_admitted(office, world):
    bob = world.joins("bob")
    alice = world.joins("alice")
    office.admitted[KEY] = [bob.identity]
    assert office.asks("ban", name=SPELLED) == {"ok": True, "sessions": 1}
    assert bob.hears() == [Farewell("banned", "this key is banned")]
    assert alice.hears() == []
    assert office.sanctions.ban_on("", KEY)
    assert office.written[0][1]["key"] == SPELLED
    assert office.asks("unban", name=SPELLED) == {"ok": True}
    assert office.written[1] == ("unban", {"by": 7, "key": SPELLED})


def test_a_key_is_not_muted(office):
    assert office.refuses("mute", name=SPELLED).startswith("not a valid name")


def test_a_mute_is_told_and_lifted(office, world):
    bob = world.joins("bob")
    assert office.asks("mute", name="BOB", reason="loud") == {"ok": True, "known": True}
    assert office.asks("mute", name="bbo") == {"ok": True, "known": False}
    assert bob.hears() == [Notice("muted", "'bob' is muted (loud)")]
    assert bob.echoes("hi").codes == ["muted"]
    assert bob.joins("bob").of(Notice) == [Notice("muted", "'bob' is muted (loud)")]
    assert world.connects().joins("alice").of(Notice) == []
    assert office.asks("unmute", name="bob") == {"ok": True}
    assert bob.echoes("hi").codes == []
    assert office.refuses("unmute", name="bob") == (
        "'bob' is not muted; 'chatbroker bans' tells who is"
    )
    assert [event for event, _ in office.written] == ["mute", "mute", "unmute"]


def test_what_cannot_be_kept_is_not_done(office, world, monkeypatch):
    def fail(text):
        raise CannotKeep("cannot write x: No space left on device")

    bob = world.joins("bob")
    monkeypatch.setattr(office.sanctions, "_keep", fail)
    for do in ("ban", "mute"):
        words = office.refuses(do, name="bob")
        assert words == "cannot write x: No space left on device"
    assert bob.echoes("hi").codes == []
    assert office.written == []


def test_a_name_is_released(office, world):
    world.joins("bob", claim=True, credential=b"b" * 16)
    assert office.asks("release", name="bob") == {"ok": True}
    assert office.written == [("release", {"by": 7, "user": "bob"})]
    assert office.refuses("release", name="bob") == (
        "nobody has the name 'bob'; 'chatbroker names list' tells which there are"
    )


def test_an_announcement_is_told_as_it_is(office, world):
    alice = world.joins("alice")
    assert office.asks("announce", words="\x1b[31mred") == {"ok": True, "sessions": 1}
    assert alice.hears() == [Notice(Code.ANNOUNCEMENT, "\x1b[31mred")]


def test_bans_are_listed_in_pages(office):
    for number in range(PAGE + 1):
        office.asks("ban", name=f"user{number:04}")
    first = office.asks("bans", kind="ban", after="")
    assert (len(first["listed"]), first["more"]) == (PAGE, True)
    rest = office.asks("bans", kind="ban", after=first["listed"][-1]["name"])
    assert [one["name"] for one in rest["listed"]] == [f"user{PAGE:04}"]
    assert rest["more"] is False
    assert office.asks("bans", kind="mute", after="")["listed"] == []


def test_how_it_is_can_be_asked(office):
    assert office.asks("status") == {"ok": True, "status": {"how": "well"}}


def test_while_nothing_can_be_stored_only_what_cannot_wait_is_done(office, keys, world):
    world.joins("bob")
    fields = {"name": "bob", "words": "wait", "kind": "ban", "after": "", "invited": False}
    done = {do for do in ACTIONS if office.asks(do, held=True, **fields)["ok"]}
    assert done == {"status", "announce", "bans", "members", "revoke"}
    assert office.refuses("kick", held=True, name="bob") == (
        "the broker can store nothing now; 'chatbroker status' says why"
    )


# --- who is admitted ----------------------------------------------------------------------


class Keys:
    """Who is admitted, as the table sees it."""

    def __init__(self):
        self.asked = []
        self.unkept = ""

    def invite(self, *asked):
        self.asked.append(("invite", *asked))
        return {"server_key": "K", "expires": NOON}

    def admit(self, *asked):
        self.asked.append(("admit", *asked))
        return {"server_key": "K"}

    def revoke(self, who, key):
        if who == "nobody":
            raise NotAdmitted("'nobody' is not admitted")
        self.asked.append(("revoke", who, key))
        return [KEY]

    def catch_up(self):
        self.asked.append(("catch_up",))
        return self.unkept

    def listed(self, *asked):
        self.asked.append(("listed", *asked))
        return [{"name": "bob", "key": SPELLED}] * (KEYS_PAGE if not asked[1] else 1)

    def keys_of(self, name):
        return [KEY] if name == "bob" else []


@pytest.fixture
def keys(office):
    office._operator._around = office._operator._around._replace(keys=Keys())
    return office._operator._around.keys


def test_keys_are_handed_on_as_they_are_meant(office, keys):
    answer = office.asks("invite", name="Bob", key=SPELLED, seconds=60)
    assert answer == {"ok": True, "server_key": "K", "expires": NOON, "known": False}
    assert office.asks("admit", name="bob", key=SPELLED)["ok"]
    assert office.asks("revoke", name="bob") == {"ok": True, "revoked": 1, "unkept": ""}
    assert office.asks("revoke", name=SPELLED)["ok"]
    assert keys.asked == [
        ("invite", "bob", KEY, 60.0),
        ("admit", "bob", KEY),
        ("revoke", "bob", None),
        ("catch_up",),
        ("revoke", SPELLED, KEY),
        ("catch_up",),
    ]
    assert [(event, fields["by"]) for event, fields in office.written] == [
        ("invite", 7),
        ("admit", 7),
        ("revoke", 7),
        ("revoke", 7),
    ]
    assert SPELLED not in str(office.written[0])  # It is not admitted yet, and may never be.


@pytest.mark.parametrize("do", ["invite", "admit"])
def test_it_is_told_if_the_name_is_somebodys(office, keys, world, do):
    world.joins("bob")
    assert office.asks(do, name="bob", key=SPELLED, seconds=60)["known"] is True


def test_who_is_taken_back_is_ended(office, keys, world):
    bob = world.joins("bob")
    office.admitted[KEY] = [bob.identity]
    office.asks("revoke", name="bob")
    words = "the key is admitted no more, by the broker's operator; another invitation may be had"
    assert bob.hears().of(Farewell) == [Farewell("not_allowed", words)]


def test_who_is_taken_back_is_ended_though_that_cannot_be_kept(office, keys, world):
    bob = world.joins("bob")
    office.admitted[KEY] = [bob.identity]
    keys.unkept = "the disk is full"
    answer = office.asks("revoke", name="bob", held=True)
    assert answer == {"ok": True, "revoked": 1, "unkept": "the disk is full"}
    assert bob.hears().of(Farewell)
    assert [event for event, _ in office.written] == ["revoke"]


def test_who_is_admitted_is_listed_in_pages(office, keys):
    first = office.asks("members", invited=False, after="")
    assert (len(first["listed"]), first["more"]) == (KEYS_PAGE, True)
    rest = office.asks("members", invited=True, after="bob x")
    assert (len(rest["listed"]), rest["more"]) == (1, False)
    assert keys.asked == [("listed", False, "", KEYS_PAGE), ("listed", True, "bob x", KEYS_PAGE)]


@pytest.mark.parametrize("fields", [{}, {"invited": 1, "after": ""}, {"invited": True}])
def test_a_list_of_no_members_that_there_are_is_refused(office, keys, fields):
    assert office.refuses("members", **fields) == OTHER_VERSION


def test_a_ban_ends_also_what_its_user_hears_without_a_name(office, keys, world):
    bob, observer, other = world.joins("bob"), world.connects(), world.connects()
    for peer in (observer, other):
        peer.joins("")
    office.admitted[KEY] = [bob.identity, observer.identity]
    assert office.asks("ban", name="bob")["sessions"] == 2
    for peer in (bob, observer):
        assert peer.hears().of(Farewell) == [Farewell("banned", "'bob' is banned")]
    assert not other.hears().of(Farewell)
    assert office.asks("ban", name="carol")["sessions"] == 0


@pytest.mark.parametrize("key", [None, 7, "", "short", "a" * 53, "a" * 51 + "b"])
def test_a_key_that_is_none_is_refused(office, keys, key):
    office.refuses("invite", name="bob", key=key, seconds=60)
    office.refuses("admit", name="bob", key=key)
    assert keys.asked == office.written == []


def test_an_invitation_has_an_end(office, keys):
    assert office.refuses("invite", name="bob", key=SPELLED) == (
        "an invitation does not hold for ever; say for how long"
    )


def test_what_is_not_admitted_cannot_be_taken_back(office, keys):
    assert office.refuses("revoke", name="nobody") == "'nobody' is not admitted"
    assert office.written == []


@pytest.mark.parametrize("do", ["invite", "admit", "revoke", "members"])
def test_a_plain_broker_has_no_keys(office, do):
    words = "the broker is not a secure one; start it with --secure"
    fields = {"name": "bob", "key": SPELLED, "seconds": 60, "invited": False, "after": ""}
    assert office.refuses(do, **fields) == words
