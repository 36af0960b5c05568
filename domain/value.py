"""Values that are made by the thousand each second: frozen for whoever reads or checks the code, and cheap to make.

A frozen dataclass writes each field through `object.__setattr__`, which costs several times a plain one. The type
checker takes `value` for `dataclass` itself, and so refuses whoever would change a field.

A named tuple's own constructor is a Python function, and costs twice what the tuple does: `made_of` gives one that
takes all the fields at once, in their order.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["made_of", "value"]

Named = TypeVar("Named", bound=tuple[Any, ...])


def made_of(kind: type[Named]) -> Callable[[tuple[Any, ...]], Named]:
    """A constructor of this named tuple from a tuple of all its fields. Nobody counts them: for hot paths only."""
    return partial(tuple.__new__, kind)


if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots):
        """A dataclass with equal hashes for equal fields, whose fields nothing but the type checker guards."""
        return dataclass(slots=slots, unsafe_hash=frozen)
