"""The one error of this room: copy that cannot be used, with the place and the remedy."""


class CopyError(ValueError):
    """Copy that is refused. Says file, line and what to do; never a customer's data."""

    def __init__(self, file: str, line: int | None, problem: str, remedy: str) -> None:
        super().__init__(file, line, problem, remedy)
        self.file = file
        self.line = line
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.problem}. {self.remedy}"
