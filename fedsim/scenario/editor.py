"""The JSON Schema of a scenario, by which editors complete and check it."""

from typing import Any

from fedsim.scenario.schema import Scenario


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file, with the parameters of every plug-in."""
    schema = Scenario.model_json_schema()
    parts = schema["$defs"]
    parts["Model"] = _flat(parts["Model"])
    attack = parts["Adversary"]["properties"]["attack"]
    attack["anyOf"] = [attack["items"], {"type": "array", "items": attack.pop("items")}]
    del attack["type"]
    schema["properties"]["matrix"] = {
        "description": "Dotted key: list of values. Every combination is one run.",
        "type": "object",
        "additionalProperties": {"type": "array", "minItems": 1},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _flat(model: dict[str, Any]) -> dict[str, Any]:
    """The network's name and parameters stand beside the other keys of `model`."""
    own = {key: item for key, item in model["properties"].items() if key != "network"}
    networks = model["properties"]["network"]["anyOf"]
    flat = [{**one, "properties": {**one["properties"], **own}} for one in networks]
    return {"title": model["title"], "description": model["description"], "anyOf": flat}
