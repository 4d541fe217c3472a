"""The JSON Schema: what editors complete, plug-in by plug-in."""

import json

from fedsim.registry import REGISTRIES
from fedsim.scenario import Scenario, json_schema


def names(alternatives):
    return {one["properties"]["name"].get("const") for one in alternatives}


def test_all_keys_and_plug_ins_are_there():
    schema = json_schema()
    parts = schema["$defs"]
    assert set(schema["properties"]) == {*Scenario.model_fields, "matrix"}
    assert set(schema["required"]) == {"name", "rounds", "model", "clients"}
    assert schema["additionalProperties"] is False
    for kind, part, key in (
        ("aggregators", "Server", "aggregator"),
        ("datasets", "Data", "dataset"),
        ("partitions", "Data", "partition"),
        ("optimizers", "Server", "optimizer"),
    ):
        found = names(parts[part]["properties"][key]["anyOf"])
        assert found == {*REGISTRIES[kind].names(), None}


def test_the_model_is_flat():
    model = json_schema()["$defs"]["Model"]
    mlp = next(one for one in model["anyOf"] if one["title"] == "mlp")
    assert set(mlp["properties"]) == {"name", "hidden", "activation", "normalize", "weights"}
    assert mlp["additionalProperties"] is False


def test_an_attack_is_one_or_a_list():
    one, many = json_schema()["$defs"]["Adversary"]["properties"]["attack"]["anyOf"]
    assert many == {"type": "array", "items": one}
    assert "boost" in names(one["anyOf"])


def test_nested_plug_ins_have_their_parameters():
    poisons = json_schema()["$defs"]["Adversary"]["properties"]["poison"]["anyOf"]
    backdoor = next(one for one in poisons if one.get("title") == "backdoor")
    triggers = backdoor["properties"]["trigger"]["anyOf"]
    assert {"dba", "patch"} <= names(triggers)


def test_it_is_plain_json_with_descriptions():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert "from that round on" in schema["$defs"]["Server"]["properties"]["lr"]["description"]
