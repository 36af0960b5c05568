"""The Celery application: `celery -A worker.app worker` and `celery -A worker.app beat`. Settings and reasons only."""

from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from config import settings as configuration
from domain.channel import Channel
from worker import engines
from worker.schedule import beat_schedule

#: One queue per channel, so that a slow relay never holds up another channel; then what comes back, and housekeeping.
CHANNEL_QUEUES = (Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.CALL, Channel.NULL)
FEEDBACK = "feedback"
MAINTENANCE = "maintenance"
QUEUES = (*(channel.value for channel in CHANNEL_QUEUES), FEEDBACK, MAINTENANCE)

#: A task is interrupted after the first and killed after the second.
SOFT_LIMIT_SECONDS = 60
HARD_LIMIT_SECONDS = 90

#: Before every key of ours: a private corner, since the shortest visibility timeout of a broker wins.
KEY_PREFIX = "duly:"


def celery_settings() -> dict[str, Any]:
    """Celery's settings; read when first needed, since they start the embedded engines if those are to be used."""
    ours = configuration.load()
    return {
        "broker_url": engines.ensure(ours).broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # never give up
        "broker_pool_acquire_timeout": 10,  # nor hang for ever
        "broker_transport_options": {
            "visibility_timeout": 600,  # several times the hard limit; the database recovers sooner
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "priority_steps": [0],  # one list per queue
            "socket_timeout": 5,  # half-open connections and frozen brokers
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "queue_order_strategy": "round_robin",
            "global_keyprefix": KEY_PREFIX,
        },
        # Nobody waits for an answer; the ledger is where answers are.
        "result_backend": None,
        "task_ignore_result": True,
        # Names of lanes and nothing else, as JSON and nothing else.
        "accept_content": ["json"],
        "worker_consumer": "worker.door:Door",
        "worker_enable_remote_control": False,  # whoever can write to the broker could end the fleet by it
        "task_serializer": "json",
        # Each with an exchange and a key of its own: queues that share Celery's default key all get every message.
        "task_queues": [Queue(name, Exchange(name, type="direct"), routing_key=name) for name in QUEUES],
        "task_create_missing_queues": False,
        "task_default_queue": MAINTENANCE,
        # Late, one at a time: back-pressure. Nothing rests on it.
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,  # a poisonous task would come back for ever
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # a broker blip must not cut a wave
        # A slice takes seconds; these catch what our own deadlines did not.
        "task_soft_time_limit": SOFT_LIMIT_SECONDS,
        "task_time_limit": HARD_LIMIT_SECONDS,
        "worker_concurrency": ours.worker_concurrency,
        "worker_max_tasks_per_child": 5000,
        "worker_max_memory_per_child": 500_000,  # kB
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "beat_schedule": beat_schedule(ours.tick_seconds),
        "beat_max_loop_interval": min(ours.tick_seconds, 5),
        "beat_scheduler": "worker.schedule:Metronome",
        "timezone": "UTC",
        "enable_utc": True,
    }


# Messages are looked at before anything of them is unpacked.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "worker.door:Transport"))

app = Celery("duly", include=["worker.tasks"])
app.add_defaults(celery_settings)
