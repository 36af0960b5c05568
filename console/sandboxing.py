"""`duly sandbox`: the providers to rehearse against, alone; and how to make them misbehave from the command line."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import orjson
import typer
from rich.console import Console
from rich.table import Table

from config import settings as configuration
from config.settings import Settings
from console.output import fail, print_json
from simulator.providers.faults import FaultKind
from simulator.providers.reports import ReportKind

HOST = "127.0.0.1"

#: Where a sandbox that runs alone is found, unless told otherwise.
HTTP_PORT, SMTP_PORT, APNS_PORT, IMAP_PORT = 8322, 8325, 8326, 8327

ANSWER_SECONDS = 10.0

_NO_PROXY = build_opener(ProxyHandler({}))

sandbox_app = typer.Typer(help="The providers to rehearse against: SMS, e-mail and push over real sockets.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
Url = Annotated[str | None, typer.Option(help=f"Where the sandbox is; by default http://{HOST}:{HTTP_PORT}.")]


@sandbox_app.callback(invoke_without_command=True)
def sandbox(
    context: typer.Context,
    http_port: Annotated[int, typer.Option(help="Twilio, FCM and the page; 0 takes a free one.")] = HTTP_PORT,
    smtp_port: Annotated[int, typer.Option(help="The mail relay.")] = SMTP_PORT,
    apns_port: Annotated[int, typer.Option(help="APNs, over TLS.")] = APNS_PORT,
    imap_port: Annotated[int, typer.Option(help="The mailbox that bounces come to.")] = IMAP_PORT,
    outbox: Annotated[
        Path | None, typer.Option(help="Where messages are kept; by default outbox/ in DULY_HOME.")
    ] = None,
    callback_base: Annotated[
        str, typer.Option(metavar="URL", help="The console to call back; by default none is called.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Faults and fates depend on it.")] = 0,
    lifelike: Annotated[bool, typer.Option(help="Refuse and lose a few, by seed and number.")] = False,
    fresh: Annotated[bool, typer.Option(help="Forget the messages of earlier runs.")] = False,
) -> None:
    """Run the sandbox providers alone, until Ctrl-C. Messages of earlier runs stay."""
    if context.invoked_subcommand is not None:
        return
    folder = outbox or configuration.load().home / "outbox"
    if fresh and folder.exists():
        _forget(folder)
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "simulator.sandbox", "--outbox", str(folder),
        "--callback-base", callback_base.rstrip("/"),
        "--seed", str(seed), "--parent-pid", str(os.getpid()), *(["--lifelike"] if lifelike else []),
        "--http-port", str(http_port), "--smtp-port", str(smtp_port), "--apns-port", str(apns_port),
        "--imap-port", str(imap_port),
    ]  # fmt: skip
    _run(command)


def _forget(folder: Path) -> None:
    """Only what a sandbox wrote."""
    for name in ("messages.jsonl", "index.html"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "mail", ignore_errors=True)


def _run(command: Sequence[str]) -> None:
    """A process of its own, as in the fleet: the servers it needs are an extra that a fleet does not."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:  # noqa: S603
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            if not ready:
                fail("the sandbox does not start; is `duly[sandbox]` installed, and are its ports free?", code=1)
            Console().print(_welcome(orjson.loads(ready)), highlight=False, soft_wrap=True)
            process.wait()
        except KeyboardInterrupt:
            process.terminate()


def _welcome(ready: Mapping[str, str]) -> str:
    return (
        f"[bold]The sandbox runs.[/] What customers would have received: {ready['http_url']}/sandbox/\n\n"
        "To send to it from elsewhere:\n"
        f"  DULY_SANDBOX_HTTP_URL={ready['http_url']}\n  DULY_SANDBOX_SMTP_URL={ready['smtp_url']}\n"
        f"  DULY_SANDBOX_APNS_URL={ready['apns_url']}\n"
        f"  DULY_SANDBOX_APNS_CERTIFICATE_FILE={ready['apns_certificate']}\n"
        f"  DULY_BOUNCES_IMAP_URL={ready['imap_url']}\n\n"
        "Make it misbehave with `duly sandbox fault`, end that with `duly sandbox calm`. Ctrl-C ends it."
    )


# ------------------------------------------------------------------------------------------------------- from elsewhere


@sandbox_app.command()
def fault(
    channel: Annotated[str, typer.Argument(help="sms, email, push (FCM), apns, or token (FCM's logins).")],
    kind: Annotated[FaultKind, typer.Argument(help="What happens.")],
    code: Annotated[str | None, typer.Option(help="What a refusal says: 21610, UNREGISTERED, '550 5.1.1'.")] = None,
    address: Annotated[str | None, typer.Option(help="Only messages to this address.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Every n-th of those.")] = 1,
    probability: Annotated[float, typer.Option(min=0, max=1, help="This share of those.")] = 1.0,
    times: Annotated[int | None, typer.Option(min=1, help="So many in all.")] = None,
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How long a stall lasts.")] = 0,
    stage: Annotated[str, typer.Option(help="E-mail: mail, rcpt, data or content.")] = "content",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add a fault to those in force."""
    rule = {
        "channel": channel, "kind": kind.value, "code": code, "address": address, "every": every,
        "probability": probability, "times": times, "seconds": seconds, "stage": stage,
    }  # fmt: skip
    rules = _ask("GET", "/sandbox/faults", url)
    _ask("POST", "/sandbox/faults", url, [*rules, rule])
    _show([*rules, rule], as_json=as_json)


@sandbox_app.command()
def faults(url: Url = None, as_json: AsJson = False) -> None:
    """Show the faults in force, in the order in which they strike."""
    _show(_ask("GET", "/sandbox/faults", url), as_json=as_json)


@sandbox_app.command()
def calm(url: Url = None) -> None:
    """End all faults."""
    _ask("POST", "/sandbox/faults", url, [])
    Console().print("No fault is in force.")


@sandbox_app.command()
def reply(
    sender: Annotated[str, typer.Argument(metavar="FROM", help="The customer's number.")],
    to: Annotated[str, typer.Argument(help="The number or name that they answer.")],
    words: Annotated[str, typer.Argument(help="What they write: STOP, START, or anything.")],
    url: Url = None,
) -> None:
    """Let a customer write a text to us."""
    posted = _ask("POST", "/sandbox/reply", url, {"from": sender, "to": to, "body": words})["posted"]
    Console().print("Sent." if posted else "Noted; nobody was told, since no --callback-base is set.")


@sandbox_app.command()
def report(
    number: Annotated[int, typer.Argument(help="The mail's number, as /sandbox/messages has it.")],
    kind: Annotated[ReportKind, typer.Argument(help="What comes back.")],
    words: Annotated[str, typer.Option("--text", help="What an answer says.")] = "",
    url: Url = None,
) -> None:
    """Put a bounce, a complaint or an answer about a mail into the bounce mailbox."""
    _ask("POST", "/sandbox/report", url, {"seq": number, "kind": kind.value, "text": words})
    Console().print("It waits in the mailbox.")


def _ask(method: str, path: str, url: str | None, body: object = None) -> Any:
    """The sandbox's answer; a sandbox that is not there or says no ends the command with a sentence."""
    base = (url or _known(configuration.load())).rstrip("/")
    content = None if body is None else orjson.dumps(body)
    request = Request(f"{base}{path}", content, method=method)  # noqa: S310 - a sandbox, by the operator's word
    try:
        with _NO_PROXY.open(request, timeout=ANSWER_SECONDS) as answer:
            return orjson.loads(answer.read())
    except HTTPError as refused:
        fail(f"the sandbox says no: {orjson.loads(refused.read()).get('error', refused.code)}", code=2)
    except (OSError, ValueError):
        fail(f"no sandbox answers at {base}: start one with `duly sandbox`, or give its --url", code=1)


def _known(settings: Settings) -> str:
    return settings.sandbox_http_url or f"http://{HOST}:{HTTP_PORT}"


def _show(rules: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"schema": 1, "faults": rules})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("channel", "what happens", "code", "to", "how often"):
        table.add_column(heading)
    for rule in rules:
        often = f"every {rule['every']}" if rule["every"] > 1 else "each"
        often += f", {rule['probability']:.0%}" if rule["probability"] < 1 else ""
        often += f", {rule['times']} times" if rule["times"] else ""
        stall = f" {rule['seconds']} s" if rule["seconds"] else ""
        table.add_row(rule["channel"], rule["kind"] + stall, rule["code"] or "", rule["address"] or "everyone", often)
    Console().print(table if rules else "No fault is in force.")
