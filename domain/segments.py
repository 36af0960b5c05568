"""How many SMS segments a text takes: what it costs, and whether a phone shows it as one message.

Numbers: 140 octets a segment; 160 septets or 70 UTF-16 units alone; a 6-octet header leaves 153 or 67 each when split
(3GPP TS 23.038 and 23.040; mainland China routes: Aliyun and Huawei Cloud SMS documentation, read 2026).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Route(StrEnum):
    """Who carries it: `cn` counts every text in UTF-16 units; `gsm` and `auto` use GSM-7 where every character fits."""

    GSM = "gsm"
    CN = "cn"
    AUTO = "auto"


class Encoding(StrEnum):
    GSM7 = "GSM-7"
    UCS2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class Segments:
    """`units` are septets for GSM-7 (an escape pair is two) and UTF-16 code units for UCS-2."""

    encoding: Encoding
    units: int
    segments: int


#: GSM 7-bit default alphabet (3GPP TS 23.038, section 6.2.1), in the order of its codes; ESC is not a character.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: Its extension table (section 6.2.1.1): each costs an escape and a septet, which must not be split.
_EXTENSION = frozenset("\f^{}\\[~]|€")
_ESCAPED = re.compile(f"[{re.escape(''.join(sorted(_EXTENSION)))}]")
_OUTSIDE = re.compile(f"[^{re.escape(''.join(sorted(_BASIC | _EXTENSION)))}]")

_GSM7_ALONE, _GSM7_SPLIT = 160, 153
_UCS2_ALONE, _UCS2_SPLIT = 70, 67


def fits_gsm7(text: str) -> bool:
    """Whether every character is in the GSM 7-bit alphabet or its extension table."""
    return _OUTSIDE.search(text) is None


def count(text: str, route: Route = Route.AUTO) -> Segments:
    """Count a text as the route would carry it. An empty text is one segment of no units."""
    if route is not Route.CN and fits_gsm7(text):
        return _count_gsm7(text)
    return _count_ucs2(text)


def _count_gsm7(text: str) -> Segments:
    units = len(text) + len(_ESCAPED.findall(text))
    if units <= _GSM7_ALONE:
        return Segments(Encoding.GSM7, units, 1)
    if units == len(text):
        return Segments(Encoding.GSM7, units, -(-units // _GSM7_SPLIT))
    return Segments(Encoding.GSM7, units, _pack((2 if c in _EXTENSION else 1 for c in text), _GSM7_SPLIT))


def _count_ucs2(text: str) -> Segments:
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units <= _UCS2_ALONE:
        return Segments(Encoding.UCS2, units, 1)
    if units == len(text):
        return Segments(Encoding.UCS2, units, -(-units // _UCS2_SPLIT))
    return Segments(Encoding.UCS2, units, _pack((2 if c > "\uffff" else 1 for c in text), _UCS2_SPLIT))


def _pack(widths: Iterable[int], room: int) -> int:
    """Segments needed when a pair may not be split: dividing the total undercounts."""
    segments, used = 1, 0
    for width in widths:
        if used + width > room:
            segments, used = segments + 1, 0
        used += width
    return segments
