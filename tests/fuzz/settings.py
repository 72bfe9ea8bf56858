"""Pipeline files that are wrong."""

from tests.fuzz.place import Attempt, Place


def unreadable_yaml(place: Place) -> Attempt:
    place.write()
    text = place.rng.choice(["name: [", "a: b: c", "\tname: x", "name: 'x", "- a\nb: c"])
    return Attempt(["run", place.file(text)], "ConfigError", "pipeline.yaml", 2)


def misspelt_key(place: Place) -> Attempt:
    place.write()
    where, right, wrong = place.rng.choice(
        [
            (place.settings, "operators", "operatros"),
            (place.settings["batch"], "max_records", "max_record"),
            (place.learn, "features", "feature"),
            (place.learn, "warmup_records", "warmup_rows"),
            (place.learn["model"], "components", "component"),
            (place.settings["checkpoint"], "every_batches", "every_batch"),
        ]
    )
    where[wrong] = where.pop(right)
    return place.wrong(wrong)


def wrong_type(place: Place) -> Attempt:
    place.write()
    where, key = place.rng.choice(
        [
            (place.settings["batch"], "max_records"),
            (place.learn, "warmup_records"),
            (place.learn["model"], "components"),
        ]
    )
    where[key] = place.rng.choice(["many", [1], {"a": 1}, 1.5, True])
    return place.wrong(key)


def out_of_bounds(place: Place) -> Attempt:
    place.write()
    where, key = place.rng.choice(
        [(place.settings["batch"], "max_records"), (place.learn["model"], "components"),
         (place.settings["checkpoint"], "every_batches")]
    )  # fmt: skip
    where[key] = place.rng.choice([0, -1, -1000])
    return place.wrong(key)


def unknown_type(place: Place) -> Attempt:
    place.write()
    where, name = place.rng.choice(
        [(place.settings["source"], "fils"), (place.learn, "lern"), (place.learn["model"], "mixtur"),
         (place.learn["model"]["family"], "gausian")]
    )  # fmt: skip
    where["type"] = name
    return place.wrong(name)


def missing_setting(place: Place) -> Attempt:
    place.write()
    where, key = place.rng.choice(
        [(place.settings, "source"), (place.learn, "features"), (place.settings["source"], "paths"),
         (place.settings["outputs"][0], "sink")]
    )  # fmt: skip
    del where[key]
    return place.wrong(key)


def unset_variable(place: Place) -> Attempt:
    place.write()
    place.settings["name"] = "${STREAMEM_FUZZ_" + str(place.rng.randrange(10**9)) + "}"
    return place.wrong("STREAMEM_FUZZ_")


def duplicate_key(place: Place) -> Attempt:
    place.write()
    file = place.file()
    with open(file, "a") as out:
        out.write(place.rng.choice(["name: again\n", "batch: {max_records: 1}\n"]))
    return Attempt(["run", file], "ConfigError", "line", 2)


def no_pipeline_file(place: Place) -> Attempt:
    name = place.rng.choice(["nowhere.yaml", "a/b.yaml"])
    return Attempt(["run", str(place.folder / name)], "ConfigError", name, 2)


def set_nonsense(place: Place) -> Attempt:
    place.write()
    value = place.rng.choice(["operators.7.name=x", "batch.max_records", "batch.max_records=x", "nothing.at.all=1"])
    return Attempt(["run", place.file(), "--set", value], "ConfigError", value.split("=")[0].split(".")[0], 2)


def missing_feature(place: Place) -> Attempt:
    place.write()
    place.learn["features"] = ["x", place.rng.choice(["z", "yy", "X"])]
    return place.wrong(place.learn["features"][1])


def text_feature(place: Place) -> Attempt:
    place.write([f"{n},{n % 7}.5,word" for n in range(400)])
    return place.wrong("y")


def bad_sql(place: Place) -> Attempt:
    place.write()
    expression = place.rng.choice(["x +", "sum(x)", "x - lag(x) over ()", "nope + 1", "select 1", "max(x)", "x y z"])
    place.settings["operators"].insert(0, {"type": "transform", "columns": {"z": expression}})
    return place.wrong("transform")


def dead_letter_without_sink(place: Place) -> Attempt:
    place.write()
    place.settings["errors"] = {"policy": "dead_letter"}
    return place.wrong("errors")


def wait_on_files(place: Place) -> Attempt:
    place.write()
    place.settings["batch"]["max_wait_ms"] = place.rng.randrange(1, 1000)
    return place.wrong("max_wait_ms")


def input_and_checkpoint(place: Place) -> Attempt:
    place.settings["source"] = {"type": "files", "paths": ["-"], "format": "ndjson"}
    return place.wrong("standard input")


def same_output_twice(place: Place) -> Attempt:
    place.write()
    place.settings["outputs"][1]["sink"]["path"] = place.settings["outputs"][0]["sink"]["path"]
    return place.wrong("outputs.1.sink")


KINDS = [
    unreadable_yaml, misspelt_key, wrong_type, out_of_bounds, unknown_type, missing_setting, unset_variable,
    duplicate_key, no_pipeline_file, set_nonsense, missing_feature, text_feature, bad_sql, dead_letter_without_sink,
    wait_on_files, input_and_checkpoint, same_output_twice,
]  # fmt: skip
