"""What beat does: it ticks. Any number of beats may run side by side, and none for a while: ticks are only wake-ups."""

from typing import Any

#: Leases are looked through this often; a dead worker's rows come back within the lease plus this.
SWEEP_SECONDS = 5.0

#: Bounces and complaints are looked for this often, where a mailbox is set.
MAILBOX_SECONDS = 60.0


def beat_schedule(tick_seconds: float) -> dict[str, dict[str, Any]]:
    """Celery beat's entries. A tick that finds nobody for three ticks is dropped, so an outage leaves no backlog."""
    return {
        "tick": {
            "task": "duly.tick",
            "schedule": tick_seconds,
            "options": {"expires": max(3 * tick_seconds, 1.0)},
        },
        "sweep": {
            "task": "duly.sweep",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": 3 * SWEEP_SECONDS},
        },
        "mailbox": {
            "task": "duly.mailbox",
            "schedule": MAILBOX_SECONDS,
            "options": {"expires": MAILBOX_SECONDS},
        },
    }
