"""How fast a lender's file gets in: `python -m bench.intake FILE [--profile uci] [--rows 100000]`.

Without FILE, a portfolio is generated. Prints accounts per second for the first import (everything is new, sealed and
planned) and for the same file again, on an engine of its own with fsync on.
"""

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path

from config.ladders import load_ladders
from config.lenders import load_lenders
from config.profiles import load_profile
from config.settings import Settings
from simulator.portfolio import write_portfolio
from storage import schema
from storage.sealing import Keyring
from worker import engines
from worker.intake import IntakeReport, import_accounts

CONFIG = Path(__file__).resolve().parent.parent / "config"
AS_OF = date(2026, 2, 28)


def texts(folder: str) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in (CONFIG / folder).glob("*.toml")}


def timed(url: str, file: Path, profile: str, keyring: Keyring, rejects: Path) -> tuple[float, IntakeReport]:
    begun = time.perf_counter()
    report = import_accounts(
        url,
        file,
        load_profile(texts("profiles"), profile),
        as_of=AS_OF,
        full=False,
        keyring=keyring,
        lenders=load_lenders(texts("lenders")),
        ladders=load_ladders(texts("ladders")),
        rejects_path=rejects,
    )
    return time.perf_counter() - begun, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--where", action="store_true", help="print where the time goes")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="duly-bench-"))
    settings = Settings(home=home)
    try:
        file = given.file or home / "portfolio.csv"
        if given.file is None:
            write_portfolio(file, accounts=given.rows, as_of=AS_OF, seed=1)
        url = engines.ensure(settings).database_url
        schema.migrate(url)
        keyring = Keyring.load_or_create(home / "keys")
        watch = cProfile.Profile()
        if given.where:
            watch.enable()
        for name in ("first", "again"):
            used = time.process_time()
            seconds, report = timed(url, file, given.profile, keyring, home / "rejects.csv")
            accounts = report.accounts_new + report.accounts_changed + report.accounts_unchanged
            used = time.process_time() - used
            print(
                f"{name:6} {accounts:8,} accounts in {seconds:6.2f} s = {accounts / seconds:8,.0f}/s, "
                f"{used / accounts * 1e6:5.0f} us of the importer's processor time each; "
                f"{report.planned:,} planned, {report.rejected:,} rejected"
            )
        if given.where:
            watch.disable()
            pstats.Stats(watch).sort_stats("tottime").print_stats(30)
    finally:
        engines.stop(settings)
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
