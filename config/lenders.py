"""Loads `lenders/*.toml`: in whose name we write, how to reach them, and which ladder treats which debt."""

import re
from collections.abc import Container, Iterator, Mapping
from typing import Annotated

from pydantic import Field

from config.files import ConfigError, Strict, read_toml, toml_files
from domain.lender import LadderChoice, Lender, LenderProvider, OfferTerms
from domain.money import BadMoney, parse_major
from domain.purpose import Actor

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
ByLocale = Annotated[Mapping[str, Text], Field(min_length=1)]
Url = Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(/[\x21-\x7e]*)?$", max_length=200)]

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
#: E.164, a short code, or an alphanumeric sender of up to eleven characters.
_SMS_SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_EMAIL = re.compile(r"[^<>\r\n\"]*<[^@<>\s]+@[a-z0-9-]+(\.[a-z0-9-]+)+>|[^@<>\s]+@[a-z0-9-]+(\.[a-z0-9-]+)+")


class _Senders(Strict):
    sms: str
    email: str


class _Help(Strict):
    phone: Text
    url: Url
    hours: ByLocale


class _Pay(Strict):
    url: Url


class _Terms(Strict):
    until_day: Annotated[int, Field(ge=0, le=3650)]
    at_least: str = "0"
    below: str | None = None


class _Offers(Strict):
    plan: _Terms | None = None
    pause: _Terms | None = None


class _Dates(Strict):
    deadline_day: Annotated[int | None, Field(ge=1, le=3650)] = None
    report_day: Annotated[int | None, Field(ge=1, le=3650)] = None


class _Choice(Strict):
    ladder: str
    product: Text | None = None
    at_least: str = "0"
    below: str | None = None


class _Provider(Strict):
    weight: Annotated[int, Field(ge=1, le=1000)]
    sender: Text | None = None


class _File(Strict):
    id: Id
    actor: Actor
    licence: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z0-9]{1,3})?$")]
    creditor_group: Id
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    brand: ByLocale
    senders: _Senders
    help: _Help
    pay: _Pay
    offers: _Offers = _Offers()
    dates: _Dates = _Dates()
    providers: Mapping[str, _Provider] = {}
    ladder: Annotated[tuple[_Choice, ...], Field(min_length=1)]


def load_lenders(files: Mapping[str, str]) -> dict[str, Lender]:
    """Every lender of the folder by id. Raises ConfigError naming the file and the key."""
    return {stem: _lender(stem, text) for stem, text in toml_files(files, folder="lenders").items()}


def check_ladders(lenders: Mapping[str, Lender], ladders: Container[str]) -> None:
    """Pass when every ladder that a lender names is there. Raises ConfigError."""
    for lender in lenders.values():
        for choice in lender.ladders:
            if choice.ladder not in ladders:
                raise ConfigError(f"lenders/{lender.id}.toml: ladder {choice.ladder!r}: no such file in ladders/")


def _lender(stem: str, text: str) -> Lender:
    name = f"lenders/{stem}.toml"
    file = read_toml(text, _File, name=name)
    if file.id != stem:
        raise ConfigError(f"{name}: id: is {file.id!r}: it must be the file's own name, {stem!r}")
    for key, texts in (("brand", file.brand), ("help.hours", file.help.hours)):
        for locale in texts:
            if not _LOCALE.fullmatch(locale):
                raise ConfigError(f"{name}: {key}.{locale}: not a locale: write en, zh-Hans or zh-Hant")
    if file.brand.keys() != file.help.hours.keys():
        raise ConfigError(f"{name}: help.hours: needs the same locales as brand: {', '.join(file.brand)}")
    if not _SMS_SENDER.fullmatch(file.senders.sms):
        raise ConfigError(f"{name}: senders.sms: write +15550100, a short code, or up to 11 letters and digits")
    for key, each in file.providers.items():
        if each.sender is not None and not (_SMS_SENDER.fullmatch(each.sender) or _EMAIL.fullmatch(each.sender)):
            raise ConfigError(f"{name}: providers.{key}.sender: write it as under [senders]")
    if not _EMAIL.fullmatch(file.senders.email):
        raise ConfigError(f"{name}: senders.email: write Name <mail@lender.example>")
    return Lender(
        id=file.id,
        brand=file.brand,
        actor=file.actor,
        licence=file.licence,
        creditor_group=file.creditor_group,
        sms_sender=file.senders.sms,
        email_sender=file.senders.email,
        help_phone=file.help.phone,
        help_hours=file.help.hours,
        pay_url=file.pay.url,
        help_url=file.help.url,
        ladders=tuple(_choice(row, file.currency, f"{name}: ladder {n}") for n, row in enumerate(file.ladder, start=1)),
        offers=tuple(_offers(file, name)),
        deadline_day=file.dates.deadline_day,
        report_day=file.dates.report_day,
        providers={key: LenderProvider(each.weight, each.sender) for key, each in file.providers.items()},
    )


def _offers(file: _File, name: str) -> Iterator[OfferTerms]:
    for id, terms in (("plan", file.offers.plan), ("pause", file.offers.pause)):
        if terms is not None:
            lowest, beyond = _bounds(terms, file.currency, f"{name}: offers.{id}")
            yield OfferTerms(id=id, last_day=terms.until_day, min_minor=lowest, max_minor=beyond)


def _choice(row: _Choice, currency: str, where: str) -> LadderChoice:
    lowest, beyond = _bounds(row, currency, where)
    return LadderChoice(ladder=row.ladder, product=row.product, min_minor=lowest, max_minor=beyond)


def _bounds(row: _Choice | _Terms, currency: str, where: str) -> tuple[int, int | None]:
    try:
        lowest = parse_major(row.at_least, currency).amount_minor
        beyond = None if row.below is None else parse_major(row.below, currency).amount_minor
    except BadMoney as error:
        raise ConfigError(f'{where}: {error}; write an amount in {currency} such as "25.00"') from error
    if beyond is not None and beyond <= lowest:
        raise ConfigError(f"{where}: below: must be more than at_least, or it is never chosen")
    return lowest, beyond
