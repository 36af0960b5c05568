"""Every fault, in the order in which it is told, and which of them make the short form."""

from tests.chaos import broker_faults, kills, link_faults, other_faults

FAULTS = [*kills.FAULTS, *broker_faults.FAULTS, *link_faults.FAULTS, *other_faults.FAULTS]
