"""The sandbox alone: it starts, misbehaves on request from the command line, and remembers what it accepted."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner, Result

from console.sandboxing import sandbox_app
from simulator.providers.world import World
from tests.channels.rig import a_closed_port, a_world_apart


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world_apart(tmp_path) as opened:
        yield opened


def say(world: World, *words: str) -> Result:
    return CliRunner().invoke(sandbox_app, [*words, "--url", world.http_url])


def accept(world: World, raw: str = "From: hi@lumen.test\r\nTo: amy@home.test\r\nSubject: Hi\r\n\r\nwords") -> None:
    """One mail, by the plainest SMTP there is."""
    code = (
        "import smtplib,sys\n"
        f"c = smtplib.SMTP('127.0.0.1', {world.smtp_url.rpartition(':')[2]})\n"
        f"c.sendmail('hi@lumen.test', ['amy@home.test'], {raw!r}); c.quit()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_faults_are_added_shown_and_ended_from_the_command_line(world: World) -> None:
    assert say(world, "fault", "sms", "refuse", "--code", "21610", "--times", "2").exit_code == 0
    assert say(world, "fault", "email", "stall_after", "--seconds", "3").exit_code == 0

    assert [(rule.channel, rule.kind.value) for rule in world.faults.rules] == [
        ("sms", "refuse"), ("email", "stall_after"),
    ]  # fmt: skip
    assert len(json.loads(say(world, "faults", "--json").stdout)["faults"]) == 2
    assert say(world, "calm").exit_code == 0
    assert world.faults.rules == []


def test_a_fault_that_cannot_be_is_refused_with_the_reason(world: World) -> None:
    refused = say(world, "fault", "push", "callback_lost")

    assert refused.exit_code == 2
    assert "only sms has callbacks" in refused.stderr
    assert world.faults.rules == []


def test_without_a_sandbox_the_command_says_so() -> None:
    missing = CliRunner().invoke(sandbox_app, ["calm", "--url", f"http://127.0.0.1:{a_closed_port()}"])

    assert missing.exit_code == 1
    assert "no sandbox answers" in missing.stderr


def test_the_page_shows_a_mail_that_can_do_nothing_and_its_buttons_bring_reports(world: World) -> None:
    accept(
        world,
        "From: hi@lumen.test\r\nTo: amy@home.test\r\nSubject: <script>1</script>\r\nContent-Type: text/html\r\n\r\n"
        "<p>Hello</p><script>alert(1)</script>",
    )

    with urlopen(f"{world.http_url}/sandbox/") as answer:
        page = answer.read().decode()
    with urlopen(f"{world.http_url}/sandbox/mail/1.html") as answer:
        policy = answer.headers["Content-Security-Policy"]
        mail = answer.read().decode()
    form = urlencode({"what": "report", "seq": "1", "kind": "hard_bounce"}).encode()
    with urlopen(Request(f"{world.http_url}/sandbox/do", form, method="POST")) as answer:
        after = answer.read().decode()

    assert "&lt;script&gt;1&lt;/script&gt;" in page
    assert "<script>1" not in page
    assert "<p>Hello</p>" in mail
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("sandbox")
    assert "1 unread" in after
    assert b"Final-Recipient: rfc822; amy@home.test" in world.mailbox.mails[0].raw


def test_a_sandbox_that_is_killed_and_started_again_remembers_what_it_accepted(tmp_path: Path) -> None:
    with a_world_apart(tmp_path) as world:
        accept(world)
        accept(world)
    with (tmp_path / "messages.jsonl").open("ab") as file:
        file.write(b'{"seq":3,"chan')  # killed in the middle of a line: nobody was told that it was accepted

    with a_world_apart(tmp_path) as again:
        accept(again)

        assert [message.seq for message in again.outbox.shown] == [1, 2, 3]
        assert again.outbox.by_channel["email"] == 3
        assert len(again.outbox.after(1)) == 2


def test_the_command_runs_it_until_it_is_told_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "console.cli", "sandbox", "--outbox", str(tmp_path)]
    ports = [word for name in ("http", "smtp", "apns", "imap") for word in (f"--{name}-port", "0")]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(5))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()

        assert process.wait(30) == 0
    assert "The sandbox runs" in said
    assert "DULY_SANDBOX_HTTP_URL=http://127.0.0.1:" in said
