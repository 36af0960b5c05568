"""Loads `experiments/*.toml`: which share of a message's customers reads other words, and until when."""

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from config.files import ConfigError, Strict, read_toml, toml_files
from domain.experiment import Experiment

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,40}$")]

#: An experiment that nobody ends becomes the rule without anybody having decided so.
LONGEST: Final = timedelta(days=180)


class _File(Strict):
    id: Name
    message: Name
    challenger: Name
    percent: Annotated[int, Field(ge=1, le=99)]
    begins: AwareDatetime
    ends: AwareDatetime
    lenders: tuple[str, ...] = ()


def load_experiments(files: Mapping[str, str]) -> dict[str, Experiment]:
    """The experiments of the folder by the message that each challenges; none without the folder.

    Raises ConfigError naming the file and the key.
    """
    found: dict[str, Experiment] = {}
    for stem, text in toml_files(files, folder="experiments").items() if files else ():
        experiment = _experiment(stem, text)
        other = found.get(experiment.message)
        if other is not None:
            raise ConfigError(
                f"experiments/{stem}.toml: message: {experiment.message!r} is challenged by "
                f"experiments/{other.id}.toml already: one at a time, or nobody can tell which made the difference"
            )
        found[experiment.message] = experiment
    return found


def _experiment(stem: str, text: str) -> Experiment:
    name = f"experiments/{stem}.toml"
    file = read_toml(text, _File, name=name)
    if file.id != stem:
        raise ConfigError(f"{name}: id: is {file.id!r}: it must be the file's own name, {stem!r}")
    if file.message == file.challenger:
        raise ConfigError(f"{name}: challenger: is the message itself: name the folder with the other words")
    begins, ends = file.begins.astimezone(UTC), file.ends.astimezone(UTC)
    if not timedelta(0) < ends - begins <= LONGEST:
        raise ConfigError(f"{name}: ends: must come after begins, within {LONGEST.days} days: then somebody decides")
    return Experiment(
        id=file.id,
        message=file.message,
        challenger=file.challenger,
        percent=file.percent,
        begins=begins,
        ends=ends,
        lenders=frozenset(file.lenders),
    )
