"""What beat does: it ticks. Any number of beats may run side by side, and none for a while: ticks are only wake-ups."""

import time
from typing import Any, Final

from celery.beat import Scheduler

#: Leases are looked through this often; a dead worker's rows come back within the lease plus this.
SWEEP_SECONDS = 5.0

#: Bounces and complaints are looked for this often, where a mailbox is set.
MAILBOX_SECONDS = 60.0

#: Providers are asked what became of uncertain contacts this often, if there are any to ask about.
LOOK_UP_SECONDS = 15.0

#: A tick that finds nobody for so long is dropped, so that an outage leaves no backlog. Beat writes the time and a
#: worker reads it: so long that their clocks may differ by most of it.
EXPIRES_SECONDS: Final = 60.0

#: While so many messages wait where ticks go, nobody takes them: another tick would say nothing new, and the sweep
#: would wait behind all of them when the workers are back, or as long as they have their hands full.
ENOUGH_WAIT: Final = 4

TICK: Final = "tick"


def beat_schedule(tick_seconds: float) -> dict[str, dict[str, Any]]:
    """Celery beat's entries."""
    every = {TICK: tick_seconds, "sweep": SWEEP_SECONDS, "mailbox": MAILBOX_SECONDS, "look_up": LOOK_UP_SECONDS}
    return {
        name: {"task": f"duly.{name}", "schedule": seconds, "options": {"expires": EXPIRES_SECONDS}}
        for name, seconds in every.items()
    }


class Metronome(Scheduler):  # type: ignore[misc]  # Celery is untyped
    """Beat's scheduler by a clock that nobody can set.

    Celery's own reads the time of day: set back by an hour, it is silent for an hour. This one keeps no file either, so
    there is none to lose or to spoil; what was missed while no beat ran is made up by the first tick.
    """

    def setup_schedule(self) -> None:
        self.merge_inplace(self.app.conf.beat_schedule)
        self._next: dict[str, float] = {}

    def tick(self) -> float:
        """Send what is due; seconds until the next."""
        now = time.monotonic()
        for name, entry in self.schedule.items():
            if now >= self._next.get(name, now):
                # From now on, not from when it was due: after a sleep one tick is enough.
                self._next[name] = now + entry.schedule.run_every.total_seconds()
                if name != TICK or self.waiting() < ENOUGH_WAIT:
                    self.apply_entry(entry, producer=self.producer)
        return float(min([self.max_interval, *(at - time.monotonic() for at in self._next.values())]))

    def waiting(self) -> int:
        """How many messages nobody has taken yet; none while the broker does not say: who publishes connects again."""
        queue = self.app.conf.task_default_queue
        try:
            return int(self.producer.channel.queue_declare(queue=queue, durable=True, auto_delete=False).message_count)
        except (*self.connection.connection_errors, *self.connection.channel_errors):
            return 0
