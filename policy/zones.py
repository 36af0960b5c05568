"""Where a phone number may be: all time zones and the country that its digits allow. Weak evidence, used as such."""

from functools import lru_cache

import phonenumbers
from phonenumbers import timezone

_EASTERN, _CENTRAL, _MOUNTAIN, _PACIFIC = (
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles",
)  # fmt: skip
_INDONESIA = ("Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura")
_CHILE = ("America/Punta_Arenas", "America/Santiago", "Pacific/Easter")
_XINJIANG = ("Asia/Shanghai", "Asia/Urumqi")

#: Prefixes that phonenumbers (9.0.43, run) places in fewer zones than they reach: area codes that a zone border crosses
#: and mobiles of countries with several zones. These zones join the library's; the longest prefix counts. For Xinjiang
#: Asia/Urumqi is not the law's clock but the people's: a second candidate out of humanity.
SPLIT: dict[str, tuple[str, ...]] = {
    # United States
    "+1208": (_MOUNTAIN, _PACIFIC), "+1986": (_MOUNTAIN, _PACIFIC), "+1605": (_CENTRAL, _MOUNTAIN),
    "+1701": (_CENTRAL, _MOUNTAIN), "+1308": (_CENTRAL, _MOUNTAIN), "+1620": (_CENTRAL, _MOUNTAIN),
    "+1785": (_CENTRAL, _MOUNTAIN), "+1432": (_CENTRAL, _MOUNTAIN), "+1915": (_CENTRAL, _MOUNTAIN),
    "+1775": (_PACIFIC, _MOUNTAIN), "+1541": (_PACIFIC, "America/Boise"), "+1458": (_PACIFIC, "America/Boise"),
    "+1928": ("America/Phoenix", _MOUNTAIN), "+1907": ("America/Anchorage", "America/Adak"),
    "+1850": (_EASTERN, _CENTRAL), "+1448": (_EASTERN, _CENTRAL), "+1334": (_CENTRAL, _EASTERN),
    "+1270": (_EASTERN, _CENTRAL), "+1364": (_EASTERN, _CENTRAL), "+1606": (_EASTERN, _CENTRAL),
    "+1219": (_EASTERN, _CENTRAL), "+1574": (_EASTERN, _CENTRAL), "+1812": (_EASTERN, _CENTRAL),
    "+1930": (_EASTERN, _CENTRAL), "+1423": (_EASTERN, _CENTRAL), "+1931": (_EASTERN, _CENTRAL),
    "+1906": (_EASTERN, _CENTRAL),
    # Canada
    "+1807": ("America/Toronto", "America/Winnipeg", "America/Atikokan"),
    "+1867": ("America/Whitehorse", "America/Yellowknife", "America/Inuvik", "America/Iqaluit",
              "America/Rankin_Inlet", "America/Cambridge_Bay", "America/Resolute"),
    "+1709": ("America/St_Johns", "America/Goose_Bay"), "+1879": ("America/St_Johns", "America/Goose_Bay"),
    "+1418": ("America/Toronto", "America/Halifax"), "+1581": ("America/Toronto", "America/Halifax"),
    "+1367": ("America/Toronto", "America/Halifax"),
    "+1250": ("America/Vancouver", "America/Edmonton"), "+1236": ("America/Vancouver", "America/Edmonton"),
    "+1672": ("America/Vancouver", "America/Edmonton"), "+1778": ("America/Vancouver", "America/Edmonton"),
    "+1306": ("America/Regina", "America/Edmonton"), "+1639": ("America/Regina", "America/Edmonton"),
    "+1474": ("America/Regina", "America/Edmonton"),
    # Countries whose mobiles tell no zone
    "+628": _INDONESIA, "+569": _CHILE,
    # Xinjiang's landlines
    "+86901": _XINJIANG, "+86902": _XINJIANG, "+86903": _XINJIANG, "+86906": _XINJIANG, "+86908": _XINJIANG,
    "+86909": _XINJIANG, "+8699": _XINJIANG,
}  # fmt: skip

_LONGEST = max(map(len, SPLIT))
_UNKNOWN = "Etc/Unknown"


@lru_cache(maxsize=65536)
def zones_of_number(number: str) -> tuple[str, ...]:
    """All IANA zones that an E.164 number may be in, sorted; empty when it tells none or is no number."""
    parsed = _parsed(number)
    if parsed is None:
        return ()
    known = {zone for zone in timezone.time_zones_for_number(parsed) if zone != _UNKNOWN}
    return tuple(sorted(known | set(_split(number))))


@lru_cache(maxsize=65536)
def country_of_number(number: str) -> str | None:
    """The ISO 3166-1 country of an E.164 number; None for numbers of no country and for what is no number."""
    parsed = _parsed(number)
    if parsed is None:
        return None
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(parsed.country_code or 0, ())
    if len(regions) == 1:
        return None if regions[0] == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY else regions[0]
    return phonenumbers.region_code_for_number(parsed)


def _parsed(number: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None


def _split(number: str) -> tuple[str, ...]:
    for length in range(_LONGEST, 2, -1):
        zones = SPLIT.get(number[:length])
        if zones is not None:
            return zones
    return ()
