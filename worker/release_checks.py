"""Everything that is asked of a bundle before anybody may approve it: does it compile, fit together, and speak well?"""

from domain.bundle import Bundle
from messages import checks
from messages.checks import Finding
from messages.fit import check_fit
from messages.rules import Severity
from worker.releases import BadRelease, Release, compile_release

#: Findings that are told in full; beyond them a number does.
MOST_TOLD = 40


def examine(bundle: Bundle) -> tuple[Release, list[Finding]]:
    """The compiled release and the warnings about it.

    Raises BadRelease, ConfigError, PackError or CopyError, each naming file, line or key and the remedy; errors in the
    copy all at once.
    """
    said = list(checks.check(bundle.under("templates")))
    _refuse(said)
    release = compile_release(bundle)
    fit = check_fit(release.catalogue, release.ladders, release.lenders)
    _refuse(fit)
    return release, [*said, *fit]


def _refuse(findings: list[Finding]) -> None:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return
    told = [_line(finding) for finding in errors[:MOST_TOLD]]
    more = [f"... and {len(errors) - MOST_TOLD} more"] if len(errors) > MOST_TOLD else []
    raise BadRelease("\n".join(["the words are not fit for a release:", *told, *more]))


def _line(finding: Finding) -> str:
    folder = "" if finding.file.startswith(("ladders/", "lenders/")) else "templates/"
    return f"{folder}{finding}"
