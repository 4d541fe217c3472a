"""What the parts of a scenario share: number ranges, and how a section is made."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from fedsim.strict import Strict

Whole = Annotated[int, Field(gt=0)]
Above = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]


def default(value: Any) -> Any:
    """A default in the words of the YAML file, checked like one that stands there."""
    return Field(default_factory=lambda: value, validate_default=True)


class Section(Strict):
    """A part of a scenario; the text under a key describes it in the JSON Schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)
