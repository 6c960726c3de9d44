from __future__ import annotations

from braze_etl.flows.currents_to_amplitude.compiled.fields import Source


def test_blocks_indent_what_is_written_inside_them() -> None:
    source = Source()
    with source.block("def double(number)"):
        with source.block("if number"):
            source.add("return 2 * number")
        source.add("return 0")
    assert str(source) == "def double(number):\n    if number:\n        return 2 * number\n    return 0\n"


def test_several_lines_are_written_at_one_depth() -> None:
    source = Source()
    with source.block("for _ in range(2)"):
        source.add("one()", "two()")
    assert str(source).splitlines()[1:] == ["    one()", "    two()"]
