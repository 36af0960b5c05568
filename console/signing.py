"""Who is at the keyboard: the name and the key that a release's steps are signed with."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from worker.signatures import NeedsPassphrase, Signer, load_signer

As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who you are; else DULY_USER.")]
Key = Annotated[Path | None, typer.Option("--key", help="Your private key; else DULY_SIGNING_KEY_FILE, or the home's.")]
Why = Annotated[str, typer.Option("--why", help="The reason: it stands in the history.")]


class WhoAreYou(ValueError):
    """A step that somebody must sign, and nobody was named."""


def key_place(settings: Settings, name: str, key: Path | None = None) -> Path:
    """Where a person's private key is."""
    return key or settings.signing_key_file or settings.home / "users" / f"{name}.key"


def signer_of(settings: Settings, name: str | None, key: Path | None) -> Signer:
    """The person with their key, its passphrase asked for if it has one. Raises WhoAreYou or BadKey."""
    who = name or settings.user
    if who is None:
        raise WhoAreYou("who are you? Add --as NAME, or set DULY_USER: this step is signed")
    secret = settings.signing_passphrase
    place = key_place(settings, who, key)
    try:
        return load_signer(who, place, passphrase=secret.get_secret_value() if secret else None)
    except NeedsPassphrase:
        if not sys.stdin.isatty():
            raise
        return load_signer(who, place, passphrase=typer.prompt(f"Passphrase of {place}", hide_input=True, err=True))


def now() -> datetime:
    """The time that a statement bears."""
    return datetime.now(UTC)
