"""Records made by hand, and folders with a short run in them."""

from pathlib import Path

import torch

from fedsim.results import RunFolder, summarize


def round_record(number, accuracy=0.9, asr=None, **others):
    seconds = {"train": 0.1, "aggregate": 0.0, "evaluate": 0.0}
    counts = {"num_clients": 2, "num_malicious": 0, "num_failed": 0, "update_norm": 1.0}
    scores = {"accuracy": accuracy, "loss": 0.5, "attack_success_rate": asr}
    scores["robust_accuracy"] = None
    return {"round": number, **scores, **counts, "seconds": seconds, **others}


def client_record(number, client, weight=None, role="benign", failed=None):
    """`role` is benign, acting, or resting: an attacker outside its rounds."""
    return {
        "round": number,
        "client": client,
        "malicious": role != "benign",
        "acting": role == "acting",
        "num_examples": 10,
        "norm": 1.0,
        "weight": weight,
        "loss": 0.5,
        "failed": failed,
    }


def summary_of(rounds, clients, **others):
    facts = {
        "name": "hand",
        "hash": "0123abcd",
        "seed": 7,
        "engine": "inprocess",
        "device": "cpu",
        "num_rounds": rounds[-1]["round"],
        "last_attack_round": None,
        "flag_rounds": {},
        "accuracy_per_class": [0.9, 0.8],
        "num_classes": 10,
        "assumed": None,
        "seconds": 1.5,
        "parameters_sha256": "ff",
    }
    return summarize(rounds=rounds, clients=clients, **{**facts, **others})


def flags_of(rounds, clients, **others):
    return {item["flag"]: item for item in summary_of(rounds, clients, **others)["flags"]}


SCENARIO = {"name": "hand", "seed": 7, "rounds": 2, "server": {"aggregator": {"name": "mean"}}}


def write_run(path: Path, accuracy=0.9, finish=True, name="hand") -> RunFolder:
    folder = RunFolder(path)
    folder.start({**SCENARIO, "name": name}, {"device": "cpu"})
    rounds = [round_record(0, 0.1), round_record(1, 0.5), round_record(2, accuracy)]
    for record in rounds:
        number = record["round"]
        ids = range(2) if number else ()
        folder.append(record, [client_record(number, client, 0.5) for client in ids])
    folder.save_checkpoint({"round": 2, "params": torch.arange(3.0)})
    if finish:
        summary = summary_of(rounds, folder.clients(), name=name)
        folder.finish({"weight": torch.arange(3.0)}, summary)
    return folder
