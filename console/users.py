"""`duly users`: the people who propose, approve and operate, and the keys they sign with."""

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from config import settings as configuration
from console.house import entered
from console.output import print_json
from console.signing import As, Key, key_place, now, signer_of
from storage import users
from worker import approvals
from worker.approvals import Role
from worker.signatures import make_key, public_file, read_public, written

SCHEMA = 1

users_app = typer.Typer(no_args_is_help=True, help="Who proposes, approves and operates; a release takes two of them.")

Name = Annotated[str, typer.Argument(help="A short name of small letters, like olga.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, with a schema version.")]
PublicKey = Annotated[
    str | None, typer.Option(help="The file ending in .pub that they made, or the line in it; else the home's.")
]


@users_app.command("key")
def key_command(
    name: Name,
    key: Key = None,
    passphrase: Annotated[bool, typer.Option(help="Lock the file with a passphrase.")] = True,
) -> None:
    """Make a key pair for yourself. The private key never leaves its file; pass the .pub on to an operator."""
    settings = configuration.load()
    path = key_place(settings, name, key)
    secret = settings.signing_passphrase
    words = secret.get_secret_value() if secret else None
    if passphrase and words is None:
        words = typer.prompt("A passphrase (a sentence)", hide_input=True, confirmation_prompt=True, err=True)
    public = make_key(path, passphrase=words if passphrase else None)
    console = Console(soft_wrap=True)
    console.print(f"Private key: {path} ({'locked' if passphrase else 'readable by you alone'}); keep it to yourself.")
    console.print(f"Public key:  {public_file(path)}: {written(public)}", highlight=False)


@users_app.command()
def add(
    name: Name,
    role: Annotated[list[Role], typer.Option("--role", help="editor, approver, operator; may be given again.")],
    full_name: Annotated[str, typer.Option(help="As the history shall show it.")] = "",
    public_key: PublicKey = None,
    as_: As = None,
    key: Key = None,
) -> None:
    """Register a person. The first one registers themselves, as an operator; from then on releases take two persons."""
    settings = configuration.load()
    with entered() as spine:
        is_first = not users.has_users(spine.conn)
        signer = signer_of(settings, as_ or (name if is_first else None), key)
        public = read_public(public_key or str(public_file(key_place(settings, name))))
        approvals.register(
            spine.conn, name, full_name=full_name or name, roles=role, public_key=public, signer=signer, at=now()
        )
    said = ", ".join(each.value for each in role)
    Console(soft_wrap=True).print(f"{name} is registered as {said}, by {signer.user}.", highlight=False)
    if is_first:
        Console(soft_wrap=True).print(
            "From now on a release is proposed by one person, approved by another, made live by an operator; what is "
            f"live stays live until then, kept by {signer.user}'s signature."
        )


@users_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Who is registered, with which roles."""
    with entered() as spine:
        everybody = users.everybody(spine.conn)
    if as_json:
        plain = [{**each._asdict(), "public_key": _key(each.public_key)} for each in everybody]
        print_json({"schema": SCHEMA, "users": plain})
        return
    if not everybody:
        Console(soft_wrap=True).print(
            f"Nobody is registered: releases go live without a second person. Begin with `duly users key "
            f"{getpass.getuser()}` and `duly users add {getpass.getuser()} --role operator`."
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("user", "name", "roles", "since", "by", "retired", "public key"):
        table.add_column(heading)
    for each in everybody:
        retired = f"{each.retired_at:%Y-%m-%d %H:%M}" if each.retired_at else ""
        table.add_row(
            each.user_id, each.full_name, ", ".join(each.roles), f"{each.registered_at:%Y-%m-%d}", each.registered_by,
            retired, _key(each.public_key),
        )  # fmt: skip
    Console().print(table)


@users_app.command()
def retire(name: Name, as_: As = None, key: Key = None) -> None:
    """From now on nothing goes live by this person's signature. What is live stays live."""
    settings = configuration.load()
    with entered() as spine:
        fresh = approvals.retire(spine.conn, name, signer=signer_of(settings, as_, key), at=now())
    Console().print(f"{name} is retired." if fresh else f"{name} was retired already.")


@users_app.command("new-key")
def new_key(
    name: Name,
    public_key: Annotated[str, typer.Option(help="The new .pub file, or the line in it.")],
    as_: As = None,
    key: Key = None,
) -> None:
    """Give a person another key: lost, or no longer theirs alone. What the old one signed lets nothing more go live."""
    settings = configuration.load()
    public = read_public(public_key)
    with entered() as spine:
        approvals.replace_key(spine.conn, name, public, signer=signer_of(settings, as_, key), at=now())
    Console().print(f"{name} signs with a new key from now on.")


def _key(public_key: bytes | None) -> str:
    return written(public_key) if public_key else ""
