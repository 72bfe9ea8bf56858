"""Files that are not what they should be, coming in and going out."""

import gzip
from pathlib import Path

import polars as pl
import zstandard

from tests.fuzz.place import Attempt, Place


def truncated_gzip(place: Place) -> Attempt:
    content = gzip.compress(place.write(place.rows(3000)).read_bytes())
    path = place.folder / "in.csv.gz"
    path.write_bytes(content[: place.rng.randrange(len(content) // 2, len(content) - 12)])
    place.settings["source"]["paths"] = [str(path)]
    return place.run("DataError", "in.csv.gz", 1)


def truncated_zstd(place: Place) -> Attempt:
    content = zstandard.compress(place.write(place.rows(3000)).read_bytes())
    path = place.folder / "in.csv.zst"
    path.write_bytes(content[: place.rng.randrange(len(content) // 2, len(content) - 12)])
    place.settings["source"]["paths"] = [str(path)]
    return place.run("DataError", "in.csv.zst", 1)


def not_gzip(place: Place) -> Attempt:
    path = place.folder / "in.csv.gz"
    path.write_bytes(place.rng.randbytes(500))
    place.settings["source"]["paths"] = [str(path)]
    return place.run("DataError", "in.csv.gz", 1)


def not_parquet(place: Place) -> Attempt:
    path = place.folder / "in.parquet"
    path.write_bytes(place.rng.randbytes(place.rng.randrange(0, 500)))
    place.settings["source"]["paths"] = [str(path)]
    return place.run("DataError", "in.parquet", 1)


def another_schema(place: Place) -> Attempt:
    frame = pl.DataFrame({"x": [place.rng.gauss(0, 1) for _ in range(300)], "y": [float(n) for n in range(300)]})
    frame.write_parquet(place.folder / "a.parquet")
    other = place.rng.choice([frame.drop("y"), frame.with_columns(pl.col("y").cast(pl.String))])
    other.write_parquet(place.folder / "b.parquet")
    place.settings["source"]["paths"] = [str(place.folder / "*.parquet")]
    return place.run("DataError", "b.parquet", 1)


def another_header(place: Place) -> Attempt:
    place.write(name="a.csv")
    (place.folder / "b.csv").write_text(place.rng.choice(["id,x\n1,2\n", "id,x,z\n1,2,3\n"]))
    place.settings["source"]["paths"] = [str(place.folder / "*.csv")]
    return place.run("DataError", "b.csv", 1)


def empty_input(place: Place) -> Attempt:
    (place.folder / "in.csv").write_text(place.rng.choice(["", "id,x,y\n", "id,x,y"]))
    return place.run("DataError", "in.csv", 1)


def shorter_than_warmup(place: Place) -> Attempt:
    place.write(place.rows(place.rng.randrange(3, 119)))
    return place.run("ModelError", "warm", 1)


def all_rows_equal(place: Place) -> Attempt:
    place.write(["1,2.5,3.5"] * 400)
    return place.run("ModelError", "x", 1)


def constant_column(place: Place) -> Attempt:
    place.write([",".join([*row.split(",")[:2], "7"]) for row in place.rows()])
    return place.run("ModelError", "y", 1)


def no_such_input(place: Place) -> Attempt:
    place.settings["source"]["paths"] = [str(place.folder / place.rng.choice(["im.csv", "*.tsv", "a/b.csv"]))]
    return place.run("ConfigError", Path(place.settings["source"]["paths"][0]).name, 2)


def folder_as_input(place: Place) -> Attempt:
    place.settings["source"]["paths"] = [str(place.folder)]
    return place.run("ConfigError", str(place.folder), 2)


def unknown_suffix(place: Place) -> Attempt:
    place.write(name="in.dat")
    place.settings["source"]["paths"] = [str(place.folder / "in.dat")]
    return place.run("ConfigError", "in.dat", 2)


def output_below_a_file(place: Place) -> Attempt:
    place.write()
    place.settings["outputs"][0]["sink"]["path"] = str(place.folder / "in.csv" / "posteriors.ndjson")
    return place.run("ConnectError", "in.csv", 1)


def output_stands_there(place: Place) -> Attempt:
    place.write()
    place.posteriors.parent.mkdir()
    place.posteriors.write_text("something\n")
    return place.run("ConfigError", "posteriors.ndjson", 2)


def compressed_output(place: Place) -> Attempt:
    place.write()
    place.settings["outputs"][0]["sink"]["path"] += ".gz"
    return place.run("ConfigError", "gz", 2)


def full_disk(place: Place) -> Attempt:
    place.write(place.rows(20_000))
    return place.run("ConnectError", str(place.folder), 1, room=place.rng.randrange(60_000, 2_500_000))


KINDS = [
    truncated_gzip, truncated_zstd, not_gzip, not_parquet, another_schema, another_header, empty_input,
    shorter_than_warmup, all_rows_equal, constant_column, no_such_input, folder_as_input, unknown_suffix,
    full_disk, output_below_a_file, output_stands_there, compressed_output,
]  # fmt: skip
