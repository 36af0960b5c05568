"""Cases, packs and strategies for the tests of the judge: good defaults, so that a test shows only what matters."""

from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from domain.case import AccountFacts, Attempt, BlockedHours, Case, CustomerFacts, PastContact
from domain.channel import AddressKind, Channel
from domain.consent import Consent
from domain.contact import Outcome
from domain.hold import Hold, HoldKind
from domain.purpose import Actor, Direction, Purpose
from policy.packs import PackBook

POLICIES = Path(__file__).parents[2] / "config" / "policies"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
CONSENTS = tuple(Consent(channel, None, purpose, LONG_AGO, None) for channel in Channel for purpose in Purpose)

#: Zones with a story: DST at midnight, half-hour shifts, a skipped day, quarter-hour offsets, two clocks in one land.
ZONES = (
    "America/New_York", "America/Los_Angeles", "America/Santiago", "America/Havana", "America/St_Johns",
    "Africa/Cairo", "Africa/Casablanca", "Asia/Shanghai", "Asia/Urumqi", "Asia/Kathmandu", "Asia/Taipei",
    "Atlantic/Azores", "Australia/Lord_Howe", "Europe/Athens", "Europe/London", "Pacific/Apia",
)  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def the_book() -> PackBook:
    return PackBook.from_files(the_texts())


@cache
def the_texts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in POLICIES.glob("*.toml")}


def a_book(**packs: str) -> PackBook:
    """Packs by id from the text after their heading."""
    return PackBook.from_files({f"{pack_id}.toml": a_pack(pack_id, text) for pack_id, text in packs.items()})


def a_pack(pack_id: str, text: str, *, heading: str = "") -> str:
    return f'id = "{pack_id}"\nversion = "1"\ntitle = "A test"\nholidays_reviewed_until = 2030-12-31\n{heading}\n{text}'


def a_rule(rule_id: str, kind: str, body: str) -> str:
    return f'[[rules]]\nid = "{rule_id}"\nkind = "{kind}"\nconfidence = "P"\nsource = "a test"\n{body}\n'


def a_case(
    now: datetime | str,
    *,
    zones: tuple[str, ...] = ("Asia/Taipei",),
    channel: Channel = Channel.EMAIL,
    purpose: Purpose = Purpose.REMINDER,
    kind: AddressKind = AddressKind.MOBILE,
    days_past_due: int = 20,
    **others: object,
) -> Case:
    """A reminder that nothing bars: confirmed zone, all consents, a debt of 20 days."""
    case = Case(
        now=utc(now) if isinstance(now, str) else now,
        expires=None,
        actor=Actor.CREDITOR,
        customer=CustomerFacts(zones, zone_confirmed=True),
        account=AccountFacts("A1", days_past_due, 10_000, "TWD"),
        attempt=Attempt(channel, "the address", kind, purpose, number_country="TW"),
        consents=CONSENTS,
    )
    return case._replace(**others)  # type: ignore[arg-type]


def a_past(
    at: datetime | str, channel: Channel = Channel.CALL, outcome: Outcome | None = None, **others: object
) -> PastContact:
    if outcome is None:
        outcome = Outcome.CONVERSATION if channel is Channel.CALL else Outcome.SENT
    past = PastContact(utc(at) if isinstance(at, str) else at, channel, outcome, ("A1",), "the address")
    return past._replace(**others)  # type: ignore[arg-type]


INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 10, 30)).map(lambda naive: naive.replace(tzinfo=UTC))
PACK_IDS = st.lists(st.sampled_from(sorted(path.stem for path in POLICIES.glob("*.toml"))), min_size=1, max_size=3)
ZONE_TUPLES = st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True).map(tuple)
TIMES = st.builds(time, st.integers(0, 23), st.sampled_from((0, 15, 30)))
BLOCKED = st.builds(BlockedHours, st.frozensets(st.integers(0, 6), min_size=1, max_size=3), TIMES, TIMES)


@st.composite
def pasts(draw: st.DrawFn, now: datetime) -> PastContact:
    """An entry of the last weeks."""
    return PastContact(
        at=now - timedelta(minutes=draw(st.integers(0, 60 * 24 * 40))),
        channel=draw(st.sampled_from(Channel)),
        outcome=draw(st.sampled_from(Outcome)),
        accounts=draw(st.sampled_from((("A1",), ("A2",), ("A1", "A2"), ()))),
        address=draw(st.sampled_from(("the address", "another", None))),
        direction=draw(st.sampled_from(Direction)),
        purpose=draw(st.sampled_from(Purpose)),
        actor=draw(st.sampled_from(Actor)),
    )


@st.composite
def holds(draw: st.DrawFn, now: datetime) -> Hold:
    since = now + timedelta(hours=draw(st.integers(-200, 100)))
    until = draw(st.none() | st.integers(1, 400).map(lambda hours: since + timedelta(hours=hours)))
    account = draw(st.sampled_from((None, "A1", "A2")))
    return Hold(draw(st.sampled_from(HoldKind)), account, since, until, draw(st.sampled_from((None, *Channel))))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    now = draw(INSTANTS)
    case = a_case(
        now,
        zones=draw(ZONE_TUPLES),
        channel=draw(st.sampled_from(Channel)),
        purpose=draw(st.sampled_from((Purpose.REMINDER,) * 4 + tuple(Purpose))),
        kind=draw(st.sampled_from(AddressKind)),
        days_past_due=draw(st.integers(-3, 95)),
        actor=draw(st.sampled_from(Actor)),
        history=tuple(draw(st.lists(pasts(now), max_size=6))),
        holds=tuple(draw(st.lists(holds(now), max_size=1))),
    )
    if draw(st.integers(0, 4)) == 0:
        case = case._replace(customer=case.customer._replace(blocked=(draw(BLOCKED),)))
    if draw(st.integers(0, 4)) == 0:
        case = case._replace(expires=now + timedelta(hours=draw(st.integers(1, 300))))
    return case
