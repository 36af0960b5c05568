"""Rendering one SMS: ours (facts to checked words) beside Jinja's own compiled render of the same template.

Jinja gets its values ready-made and includes its shared words the way Jinja does; a second yardstick has them pasted in
by hand. Ours writes money and dates, cleans the name, renders, bounds the length and looks at the result once more.
Run: python -m bench.rendering
"""

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jinja2
from msgspec.structs import replace

from domain.channel import Channel
from domain.money import MAX_MINOR
from messages import samples
from messages.catalogue import Catalogue
from messages.source import read_folder

FOLDER = Path(__file__).parent.parent / "templates"
GOAL = 1.3
ROUNDS = 41
CUSTOMERS = 500
CASES = [("first_notice", "en"), ("first_notice", "zh-Hans"), ("options", "zh-Hant")]


def measure(message: str, locale: str) -> dict[str, object]:
    """Microseconds per SMS on both sides, interleaved round by round, medians."""
    files = read_folder(FOLDER)
    catalogue = Catalogue.from_files(files)
    dice = random.Random(7)
    one = samples.ordinary(catalogue.messages[message], locale)
    people = [
        replace(
            one,
            customer_name=dice.choice(["Ana Silva", "José Pérez", "王芳", "Mary-Ann O'Neil", "Li Wei"]),
            debts=(replace(one.debts[0], balance_minor=dice.randrange(1, MAX_MINOR // 10**8)),),
        )
        for _ in range(CUSTOMERS)
    ]
    template = catalogue.templates[message, Channel.SMS, locale]
    values = [template.values(facts) for facts in people]
    theirs = _jinja(files, message, locale)
    pasted = _jinja(files, message, locale, pasted=True)
    rounds: dict[str, list[float]] = {"ours": [], "jinja": [], "jinja, pasted": []}
    for _ in range(ROUNDS):
        rounds["ours"].append(_timed(lambda: [template.render(facts, Channel.SMS) for facts in people]))
        rounds["jinja"].append(_timed(lambda: [theirs.render(given) for given in values]))
        rounds["jinja, pasted"].append(_timed(lambda: [pasted.render(given) for given in values]))
    ours, jinja, plain = (statistics.median(rounds[name]) for name in rounds)
    return {
        "name": f"render {message} sms {locale}",
        "ours": round(ours, 2),
        "yardstick": round(jinja, 2),
        "yardstick_name": "Jinja's compiled render",
        "ratio": round(ours / jinja, 2),
        "pasted_ratio": round(ours / plain, 2),
        "goal": GOAL,
        "unit": "us/message",
        "rounds": ROUNDS,
    }


def _jinja(files: dict[str, str], message: str, locale: str, *, pasted: bool = False) -> jinja2.Template:
    def load(name: str) -> str | None:
        tries = (name, f"_shared/{name}.sms.{locale}.txt", f"_shared/{name}.{locale}.txt")
        return next((files[path] for path in tries if path in files), None)

    environment = jinja2.Environment(loader=jinja2.FunctionLoader(load), auto_reload=False, trim_blocks=True)
    name = f"{message}/sms.{locale}.txt"
    if not pasted:
        return environment.get_template(name)
    text = files[name]
    for _ in range(3):
        for word in ("hello", "pay", "way_out", "wrong", "opt_out", "offer"):
            text = text.replace(f'{{% include "{word}" %}}', (load(word) or "").strip())
    return environment.from_string(text)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / CUSTOMERS * 1e6


def rows() -> list[dict[str, object]]:
    return [measure(*case) for case in CASES]


def main() -> None:
    for row in rows():
        print(
            f"{row['name']:34} ours {row['ours']:6} us   Jinja {row['yardstick']:6} us   ratio {row['ratio']}"
            f"   (includes pasted in by hand: {row['pasted_ratio']})   goal at most {row['goal']}"
        )


if __name__ == "__main__":
    main()
