"""The book of all packs: which exist, what they bring along by law, and which of them apply to whom."""

from collections.abc import Mapping, Sequence
from datetime import date

from domain.verdict import Because, Suppress
from policy.pack import Layer, Pack, read_pack
from policy.rule_set import RuleSet
from policy.table import PackError

__all__ = ["BASELINE", "Pack", "PackBook", "PackError", "RuleSet"]

#: The pack that applies to everybody.
BASELINE = "baseline"


class PackBook:
    """Packs by id. Safe to share between threads once built; rule sets are made once and kept."""

    def __init__(self, packs: Mapping[str, Pack]) -> None:
        self.packs = packs
        self._by_region = _by_region(packs)
        self._sets: dict[tuple[str, ...], RuleSet] = {}
        self._applying: dict[tuple[str | None, str | None, str | None], tuple[str, ...] | Suppress] = {}
        for pack_id in packs:
            self.named((pack_id,))

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> "PackBook":
        """Read all packs (texts by file name); raises PackError for the first that may not be used."""
        packs: dict[str, Pack] = {}
        for file in sorted(files):
            if file.endswith(".toml"):
                pack = read_pack(file, files[file])
                if pack.id in packs:
                    raise PackError(f"{file}: id: {pack.id!r} is also the id of {packs[pack.id].file}; rename one")
                packs[pack.id] = pack
        _refuse_shared_rule_ids(packs)
        _refuse_broken_families(packs)
        return cls(packs)

    def named(self, ids: Sequence[str]) -> RuleSet:
        """These packs and what they extend by law, and nothing else; raises PackError for an id that is unknown."""
        key = tuple(ids)
        known = self._sets.get(key)
        if known is None:
            known = self._sets[key] = RuleSet([self.packs[pack_id] for pack_id in self._with_parents(key)])
        return known

    def applying(
        self, *, residence: str | None, number_country: str | None, licence: str | None, on: date
    ) -> RuleSet | Suppress:
        """Baseline, residence, the number's country and the lender's licence; a Suppress where one is not known.

        `residence` and `number_country` are ISO regions (TW, US-MA); `licence` may also be a pack's id.
        """
        key = (residence, number_country, licence)
        ids = self._applying.get(key)
        if ids is None:
            ids = self._applying[key] = self._choose(residence, number_country, licence)
        if isinstance(ids, Suppress):
            return ids
        rules = self.named(ids)
        for pack in rules.expired(on) if rules.can_expire else ():
            return _unknown(
                "pack.expired", f"{pack.file}: valid_until: {pack.name} has expired; review it, set a later day"
            )
        return rules

    def _choose(
        self, residence: str | None, number_country: str | None, licence: str | None
    ) -> tuple[str, ...] | Suppress:
        if residence is None and number_country is None:
            return _unknown(
                "jurisdiction.unknown", "neither the residence nor the number's country is known; add a residence"
            )
        chosen = [BASELINE]
        for what, region in (("residence", residence), ("number's country", number_country)):
            found = self._for_region(region, residence)
            if found is None:
                return _unknown(
                    "jurisdiction.unknown",
                    f"no pack covers the {what} {region}; {self._remedy(str(region))}",
                )
            chosen += found
        if licence is not None:
            licensed = (licence,) if licence in self.packs else self._for_region(licence, None)
            if not licensed:
                return _unknown(
                    "jurisdiction.unknown",
                    f"no pack covers the lender's licence {licence}; add one or correct the lender",
                )
            chosen += licensed
        return tuple(dict.fromkeys(chosen))

    def _for_region(self, region: str | None, residence: str | None) -> tuple[str, ...] | None:
        """The packs of a region or, failing that, of its country; None when there are none.

        A number tells its country only: one that is the residence's country adds nothing, and one that is known by its
        parts alone brings the rules of all of them.
        """
        if region is None or (residence is not None and residence.startswith(f"{region}-")):
            return ()
        country = region.partition("-")[0]
        found = self._by_region.get(region) or self._by_region.get(country)
        if found or region == residence or "-" in region:
            return found
        parts = [ids for part, ids in self._by_region.items() if part.startswith(f"{country}-")]
        return tuple(sorted({pack_id for ids in parts for pack_id in ids})) or None

    def _remedy(self, region: str) -> str:
        parts = sorted(part for part in self._by_region if part.startswith(f"{region}-"))
        return f"say which part: {', '.join(parts)}" if parts else f"write one with regions = [{region!r}]"

    def _with_parents(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Parents first; each pack once."""
        ordered: dict[str, None] = {}

        def add(pack_id: str, named_by: str) -> None:
            if pack_id not in self.packs:
                known = ", ".join(sorted(self.packs))
                raise PackError(f"{named_by}unknown pack {pack_id!r}; use one of: {known}")
            for parent in self.packs[pack_id].extends:
                add(parent, f"{self.packs[pack_id].file}: extends: ")
            ordered[pack_id] = None

        for pack_id in ids:
            add(pack_id, "")
        if not ordered:
            raise PackError("no pack is named; name at least one")
        return tuple(ordered)


def _by_region(packs: Mapping[str, Pack]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for pack in packs.values():
        for region in pack.regions:
            found[region] = (*found.get(region, ()), pack.id)
    return found


def _refuse_shared_rule_ids(packs: Mapping[str, Pack]) -> None:
    owners: dict[str, str] = {}
    for pack in packs.values():
        for rule in pack.rules:
            if rule.terms.id in owners:
                raise PackError(
                    f"{pack.file}: rule {rule.terms.id}: id: is also the id of a rule in {owners[rule.terms.id]}; "
                    "give each rule its own"
                )
            owners[rule.terms.id] = pack.file


def _refuse_broken_families(packs: Mapping[str, Pack]) -> None:
    for pack in packs.values():
        for parent in pack.extends:
            if parent not in packs:
                known = ", ".join(sorted(packs))
                raise PackError(f"{pack.file}: extends: unknown pack {parent!r}; use one of: {known}")
            if packs[parent].layer is Layer.BASELINE and pack.layer is not Layer.LENDER:
                raise PackError(
                    f"{pack.file}: extends: the baseline applies by itself and is nobody's parent; remove it"
                )
        _refuse_circle(pack, packs, ())


def _refuse_circle(pack: Pack, packs: Mapping[str, Pack], path: tuple[str, ...]) -> None:
    if pack.id in path:
        raise PackError(f"{pack.file}: extends: {' -> '.join((*path, pack.id))} is a circle; break it")
    for parent in pack.extends:
        if parent in packs:
            _refuse_circle(packs[parent], packs, (*path, pack.id))


def _unknown(rule: str, source: str) -> Suppress:
    return Suppress(Because(rule, "duly@1", source, "own", "hard"))
