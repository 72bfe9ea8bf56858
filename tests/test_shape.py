"""What every file of the project keeps to."""

from pathlib import Path

TOP = Path(__file__).parents[1]

LONGEST = 450  # lines; what is longer is two ideas, and divides into two files with names that say which


def test_no_file_is_too_long():
    lengths = {
        str(file.relative_to(TOP)): len(file.read_text().splitlines())
        for folder in ("streamem", "tests", "examples")
        for file in (TOP / folder).rglob("*.py")
    }
    assert len(lengths) > 200
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
