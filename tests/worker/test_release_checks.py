"""A bad release is refused: the file, the line and the remedy are named, and nothing of it is stored."""

import re
from pathlib import Path

import pytest

from config.bundle import bundle_of_bytes, read_bundle
from config.files import ConfigError
from domain.bundle import Bundle
from tests.builders import HOUSE, a_small_bundle
from worker.release_checks import examine
from worker.releases import BadRelease, compile_release

SMS = "templates/first_notice/sms.en.txt"
MAIL = "templates/first_notice/email.en.txt"
MANIFEST = "templates/first_notice/message.toml"


def small() -> dict[str, str]:
    return dict(a_small_bundle().files)


def test_a_small_release_is_fit():
    release, _ = examine(Bundle(small()))

    assert set(release.lenders) == {"bench"}


BAD = {
    "a tag that is not closed": (SMS, lambda text: text + "{% if name %}Hi", r"sms\.en\.txt:\d+"),
    "a field that does not exist": (SMS, lambda text: text + "{{ ammount }}", r"sms\.en\.txt:\d+.*ammount"),
    "a field that is not declared": (
        MANIFEST, lambda text: re.sub(r"(?m)^help_url = .*\n", "", text), r"first_notice/.*help_url",
    ),
    "front matter that is not closed": (MAIL, lambda text: "---\nsubject: Hello\n" + text[4:].replace("---", "", 1),
                                        r"email\.en\.txt:1.*front matter"),
    "front matter with an unknown key": (MAIL, lambda text: text.replace("subject:", "subjct:", 1),
                                         r"email\.en\.txt:2.*subjct"),
    "a loop that never ends": (
        SMS, lambda text: text + "{% for a in range(999999999) %}{% for b in range(999999999) %}x{% endfor %}"
        "{% endfor %}", r"sms\.en\.txt:\d+",
    ),
    "a paste of a book": (SMS, lambda text: "It was a dark and stormy night. " * 30_000, r"sms\.en\.txt"),
    "no TOML": (MANIFEST, lambda text: text + "\nstage = = initial", r"message\.toml:\d+"),
    "a threat": (SMS, lambda text: text + " Pay now or you will be arrested.", r"sms\.en\.txt:\d+.*C\d\d"),
    "a ladder that sends what is not there": (
        "ladders/null.toml", lambda text: text.replace('"first_notice"', '"last_warning"'),
        r"ladders/null\.toml.*last_warning",
    ),
    "a lender under no known law": ("lenders/bench.toml", lambda text: text.replace('"tw"', '"xx"'),
                                    r"lenders/bench\.toml.*'xx'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_place(name: str):
    path, spoil, says = BAD[name]
    files = small()
    before = files[path]
    files[path] = spoil(before)
    assert files[path] != before

    with pytest.raises(ValueError, match=f"(?s){says}"):
        examine(Bundle(files))


def test_five_megabytes_and_gbk_do_not_even_become_a_bundle(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"sms\.zh-Hans\.txt:1: is not UTF-8: it looks like GBK"):
        bundle_of_bytes({"templates/first_notice/sms.zh-Hans.txt": "您好，这是您的还款提醒".encode("gbk")})
    folder = tmp_path / "templates" / "first_notice"
    folder.mkdir(parents=True)
    (folder / "sms.en.txt").write_bytes(b"x" * 5 * 1024 * 1024)

    with pytest.raises(ConfigError, match=r"sms\.en\.txt: 5\.0 MB"):
        read_bundle(HOUSE / "config", tmp_path / "templates")


def an_experiment(**changes: str) -> str:
    values = {
        "id": '"warmer"', "message": '"first_notice"', "challenger": '"first_notice_warm"', "percent": "20",
        "begins": "2026-03-01T00:00:00Z", "ends": "2026-04-01T00:00:00Z", **changes,
    }  # fmt: skip
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def with_challenger(**changes: str) -> dict[str, str]:
    files = small()
    copies = {path.replace("first_notice/", "first_notice_warm/"): text
              for path, text in files.items() if "first_notice/" in path}  # fmt: skip
    return {**files, **copies, "experiments/warmer.toml": an_experiment(**changes)}


def test_an_experiment_is_part_of_a_release():
    release, _ = examine(Bundle(with_challenger()))

    assert release.experiments["first_notice"].percent == 20


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"percent": "100"}, "percent"),
        ({"ends": "2026-03-01T00:00:00Z"}, "ends: must come after begins"),
        ({"ends": "2027-03-01T00:00:00Z"}, "within 180 days"),
        ({"begins": "2026-03-01T00:00:00"}, "begins"),
        ({"challenger": '"nothing"'}, "challenger: 'nothing', which templates/ does not have"),
        ({"challenger": '"first_notice"'}, "the message itself"),
        ({"challenger": '"specialist"'}, "differs in purpose, stage or days"),
        ({"lenders": '["nobody"]'}, "lenders: 'nobody'"),
        ({"id": '"colder"'}, "id: is 'colder'"),
    ],
)
def test_an_experiment_that_cannot_stand_is_refused(changes: dict[str, str], says: str):
    with pytest.raises((BadRelease, ConfigError), match=f"experiments/warmer.toml.*{re.escape(says)}"):
        compile_release(Bundle(with_challenger(**changes)))


def test_a_challenger_must_speak_every_language_of_its_champion():
    files = with_challenger()
    del files["templates/first_notice_warm/sms.zh-Hant.txt"]

    with pytest.raises(BadRelease, match=r"no sms\.zh-Hant copy"):
        compile_release(Bundle(files))
