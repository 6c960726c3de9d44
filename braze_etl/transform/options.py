"""What a project decides about its mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from braze_etl.config import MappingSection


class MappingOptions(MappingSection):
    """The `mapping` section of the configuration, and Amplitude's `min_id_length`, in characters."""

    min_id_length: int = Field(default=5, ge=1)

    @classmethod
    def of(cls, section: MappingSection, *, min_id_length: int) -> MappingOptions:
        """Take the section as it was checked."""
        values = {name: getattr(section, name) for name in MappingSection.model_fields}
        return cls.model_construct(**values, min_id_length=min_id_length)

    def as_dict(self) -> dict[str, Any]:
        """All that decides an outcome, as plain JSON: no secret, no test, nothing that is as by default."""
        return self.model_dump(
            mode="json",
            by_alias=True,
            exclude_defaults=True,
            exclude={"file": True, "tests": True, "privacy": {"salt"}},
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MappingOptions:
        """Read what `as_dict` gave."""
        return cls.model_validate(values)
