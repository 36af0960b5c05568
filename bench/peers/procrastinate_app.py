"""Procrastinate: jobs deferred in bulk; ten at once in each worker."""

import os

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from bench.peers.tally import count

app = App(
    connector=PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"]), import_paths=["bench.peers.procrastinate_app"]
)


@app.task(queue="empty", name="nothing")
async def nothing() -> None:
    count()


def put(number: int) -> None:
    with app.replace_connector(SyncPsycopgConnector(conninfo=os.environ["BENCH_DATABASE"])) as sync, sync.open():
        for start in range(0, number, 500):
            sync.tasks["nothing"].batch_defer(*({} for _ in range(min(500, number - start))))
