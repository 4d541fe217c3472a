"""A pydantic model that takes nothing on trust: no unknown keys, no coercion, no NaN."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic import Strict as StrictMode
from pydantic_core import InitErrorDetails, PydanticCustomError

from fedsim.errors import suggest

Share = Annotated[float, Field(ge=0, le=1)]
"""A share in [0, 1]."""

Count = Annotated[int, Field(ge=0)]
"""A whole number ≥ 0."""

Positive = Annotated[int, Field(ge=1)]
"""A whole number ≥ 1."""

Pair = Annotated[tuple[Count, Count], StrictMode(False)]
"""Two whole numbers ≥ 0, written as a list in YAML."""


Sizes = Annotated[tuple[Positive, ...], StrictMode(False)]
"""Whole numbers ≥ 1, written as a list in YAML."""


class Strict(BaseModel):
    """Base of everything that is read from a scenario; `what` names its keys in errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )
    what: ClassVar[str] = "key"

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = [field.alias or name for name, field in cls.model_fields.items()]
        errors = [
            InitErrorDetails(
                type=PydanticCustomError(
                    "unknown_key",
                    "unknown {what}. {hint}",
                    {"what": cls.what, "hint": suggest(str(key), known)},
                ),
                loc=(str(key),),
                input=value,
            )
            for key, value in given.items()
            if key not in known
        ]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return given
