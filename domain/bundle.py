"""Everything decided, as one content-addressed bundle: packs, ladders, lenders, channels and copy."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Bundle:
    """UTF-8 files by their path in the bundle: `policies/cn.toml`, `templates/first_notice/sms.en.txt`."""

    files: Mapping[str, str]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the sorted paths and contents, each with its length before it; 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            for part in (path.encode(), self.files[path].encode()):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return digest.hexdigest()

    def under(self, folder: str) -> dict[str, str]:
        """The files of one folder, with paths relative to it."""
        prefix = folder.rstrip("/") + "/"
        return {path[len(prefix) :]: text for path, text in self.files.items() if path.startswith(prefix)}
