"""Half-open spans of time, [opens, closes), and the set arithmetic that hours need. All instants are aware UTC."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time in order, without overlaps; spans that touch become one, empty ones vanish."""
    result: list[Span] = []
    for opens, closes in sorted(spans):
        if opens >= closes:
            continue
        if result and opens <= result[-1][1]:
            result[-1] = (result[-1][0], max(closes, result[-1][1]))
        else:
            result.append((opens, closes))
    return result


def common(left: Sequence[Span], right: Sequence[Span]) -> list[Span]:
    """The time that is in both; each side as `merged` returns it."""
    result: list[Span] = []
    i = j = 0
    while i < len(left) and j < len(right):
        opens, closes = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if opens < closes:
            result.append((opens, closes))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return result


def shrunk(spans: Iterable[Span], margin: timedelta) -> list[Span]:
    """Each span shorter by the margin at both ends; what the margins eat up vanishes."""
    return [(opens + margin, closes - margin) for opens, closes in spans if closes - opens > 2 * margin]
