"""Bans: channels that may not be used for this kind of address, by this actor, or that providers refuse to carry."""

from dataclasses import dataclass

from domain.case import Case
from policy.table import Table
from policy.terms import Defaults, Terms, read_terms


@dataclass(frozen=True)
class BanRule:
    """`number_countries` narrows it to numbers of these ISO countries; a number of unknown country is one of them."""

    terms: Terms
    number_countries: frozenset[str]
    unless_consent_for_address: bool

    def bars(self, case: Case) -> bool:
        country = case.attempt.number_country
        if self.number_countries and country is not None and country not in self.number_countries:
            return False
        return not (self.unless_consent_for_address and _agreed_to_this_address(case))


def read_ban(table: Table, inherited: Defaults, kind: str) -> BanRule:
    terms = read_terms(table, kind, inherited, channels=None)
    countries = frozenset(table.texts("number_countries", ()))
    for country in countries:
        if len(country) != 2 or not country.isupper():
            raise table.error("number_countries", f"{country!r} is not an ISO country code; write it as US")
    rule = BanRule(terms, countries, table.flag("unless_consent_for_address"))
    table.finish()
    return rule


def _agreed_to_this_address(case: Case) -> bool:
    attempt = case.attempt
    return any(
        consent.channel is attempt.channel
        and consent.address is not None
        and consent.address == attempt.address
        and consent.given <= case.now
        and (consent.withdrawn is None or consent.withdrawn > case.now)
        for consent in case.consents
    )
