"""The yardstick: a Celery task that does nothing, under the settings that a Celery user would choose for speed."""

import os

from celery import Celery

app = Celery("empty", broker=os.environ["EMPTY_BROKER"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue="empty",
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    broker_transport_options={"global_keyprefix": "empty:"},
)


@app.task
def nothing() -> None:
    pass
