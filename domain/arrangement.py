"""What a customer has agreed with us: a promise to pay, or an arrangement (instalments or a deferral)."""

from enum import StrEnum


class PromiseState(StrEnum):
    OPEN = "open"
    KEPT = "kept"
    PARTLY_KEPT = "partly_kept"
    KEPT_LATE = "kept_late"
    BROKEN = "broken"


class ArrangementKind(StrEnum):
    INSTALMENTS = "instalments"
    DEFERRAL = "deferral"
