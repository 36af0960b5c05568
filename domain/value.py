"""Values that are made by the thousand each second: frozen for whoever reads or checks the code, and cheap to make.

A frozen dataclass writes each field through `object.__setattr__`, which costs several times a plain one. The type
checker takes `value` for `dataclass` itself, and so refuses whoever would change a field.
"""

from typing import TYPE_CHECKING

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots):
        """A dataclass with equal hashes for equal fields, whose fields nothing but the type checker guards."""
        return dataclass(slots=slots, unsafe_hash=frozen)
