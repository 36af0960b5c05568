"""Loads `ladders/*.toml`: the ordered steps of a treatment."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import time, timedelta
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from config.files import ConfigError, Strict, read_toml, toml_files
from domain.channel import BY_A_PERSON, Channel
from domain.ladder import STAGES, Ladder, Stage, Step
from domain.money import BadMoney, parse_major

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]

#: A planned step that could wait longer than this would say something else than it meant.
LONGEST_WAIT: Final = timedelta(days=31)


class _Step(Strict):
    id: Name
    day: Annotated[int, Field(ge=-60, le=3650)]
    at: time
    stage: Stage
    message: Name
    channels: tuple[Channel, ...]
    true_until_day: int
    expires_hours: Annotated[int, Field(gt=0, le=LONGEST_WAIT.days * 24)]
    at_least: Mapping[str, str] = Field(default_factory=dict)
    below: Mapping[str, str] = Field(default_factory=dict)
    times: Annotated[int, Field(ge=1, le=2000)] = 1
    every_days: Annotated[int, Field(ge=1, le=366)] = 1


class _File(Strict):
    id: Name
    human_after_day: Annotated[int, Field(ge=0, le=36500)]
    step: Annotated[tuple[_Step, ...], Field(min_length=1)]


def load_ladders(files: Mapping[str, str]) -> dict[str, Ladder]:
    """Every ladder of the folder by id. Raises ConfigError naming the file, the step and the key."""
    return {stem: _ladder(stem, text) for stem, text in toml_files(files, folder="ladders").items()}


def _ladder(stem: str, text: str) -> Ladder:
    name = f"ladders/{stem}.toml"
    file = read_toml(text, _File, name=name)
    if file.id != stem:
        raise ConfigError(f"{name}: id: is {file.id!r}: it must be the file's own name, {stem!r}")
    ladder = Ladder(file.id, tuple(step for row in file.step for step in _steps(row, name)), file.human_after_day)
    _check(ladder, name)
    return ladder


def _steps(row: _Step, name: str) -> Iterator[Step]:
    """One step, or `times` of them `every_days` apart, numbered from 1."""
    lowest, beyond = (_amounts(row, key, name) for key in ("at_least", "below"))
    for turn in range(row.times):
        later = turn * row.every_days
        yield Step(
            id=row.id if row.times == 1 else f"{row.id}-{turn + 1}",
            day=row.day + later,
            at=row.at,
            stage=row.stage,
            message=row.message,
            channels=row.channels,
            true_until_day=row.true_until_day + later,
            expires_after=timedelta(hours=row.expires_hours),
            min_minor=lowest,
            max_minor=beyond,
        )


def _amounts(row: _Step, key: str, name: str) -> dict[str, int]:
    try:
        amounts: Mapping[str, str] = getattr(row, key)
        return {currency: parse_major(text, currency).amount_minor for currency, text in amounts.items()}
    except BadMoney as error:
        raise ConfigError(f'{name}: step {row.id!r}: {key}: {error}; write {{ EUR = "25.00" }}') from error


def _check(ladder: Ladder, name: str) -> None:
    steps = ladder.steps
    twice = [step_id for step_id, count in Counter(step.id for step in steps).items() if count > 1]
    if twice:
        raise ConfigError(f"{name}: step {twice[0]!r} is there twice: give each step its own id")
    for step in steps:
        _check_step(step, f"{name}: step {step.id!r}")
    for before, after in pairwise(steps):
        where = f"{name}: step {after.id!r}"
        if after.day < before.day:
            raise ConfigError(f"{where}: day: earlier than step {before.id!r} above it: order the steps by day")
        if STAGES.index(after.stage) < STAGES.index(before.stage):
            raise ConfigError(f"{where}: stage: gentler than step {before.id!r} above it: stages only move on")
    if not BY_A_PERSON.issuperset(steps[-1].channels):
        raise ConfigError(f"{name}: the last step goes to a person: give step {steps[-1].id!r} channels = []")


def _check_step(step: Step, where: str) -> None:
    if step.at.tzinfo is not None or step.at.second or step.at.microsecond:
        raise ConfigError(f"{where}: at: write a local time in whole minutes, such as 10:00:00")
    if step.true_until_day < step.day:
        raise ConfigError(f"{where}: true_until_day: before the step's own day: its words would never be true")
    if len(set(step.channels)) < len(step.channels):
        raise ConfigError(f"{where}: channels: one is there twice: name each once, the preferred first")
    if step.stage is Stage.FINAL and not BY_A_PERSON.issuperset(step.channels):
        raise ConfigError(f"{where}: channels: the final stage belongs to a person: write channels = []")
    if (step.stage is Stage.PRE_DUE) != (step.day <= 0):
        raise ConfigError(f"{where}: stage: pre_due is up to and on the due day, the other stages come after it")
