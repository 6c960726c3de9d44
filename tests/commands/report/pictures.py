"""The pictures of the documents: `python -m tests.commands.report.pictures [FOLDER]`; needs Chromium."""

from __future__ import annotations

import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from braze_etl.clock import hour_of, iso
from braze_etl.commands.report.page import render
from tests.commands.report.browser import find_chromium, open_browser
from tests.commands.report.conftest import a_month
from tests.commands.terminal import on_a_terminal
from tests.workplace import open_workplace

_WIDTH = 104
_TYPES = ("users.messages.email.*", "users.behaviors.app.*", "users.behaviors.Purchase")
_END_OF_DELIVERED = """
Math.ceil(document.querySelector("#chart-delivered").closest("section").getBoundingClientRect().bottom)
"""


def main(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        picture_page(Path(work), folder)
        picture_run(Path(work), folder / "run.svg")


def picture_page(work: Path, folder: Path) -> None:
    """The upper part of the page of a made-up month, light and dark."""
    program = find_chromium()
    assert program is not None, "needs Chromium"
    page = work / "report.html"
    page.write_text(render(a_month()), encoding="utf-8")
    with open_browser(program, work / "profile") as tab:
        for name, dark in (("light", False), ("dark", True)):
            tab.show(page, 1280, 900, dark=dark)
            tab.show(page, 1280, tab.ask(_END_OF_DELIVERED) + 12, dark=dark)
            (folder / f"report-{name}.png").write_bytes(tab.picture())


def picture_run(work: Path, file: Path) -> None:
    """What a terminal shows of a run: the bar, a good way on, and the report that is left in the end."""
    (work / "place").mkdir()
    start = hour_of(datetime.now(UTC)) - timedelta(hours=8)
    with open_workplace(work / "place") as place:
        place.configure(pipeline="demo", source={"start_at": iso(start)})
        place.export(events=20_000, hours=6, start=start, event_types=_TYPES, awkward=0.01, duplicates=0.01)
        _, _, told = on_a_terminal(place, "run", "--log-level", "error", width=_WIDTH, stdout_too=True)
    *frames, report = told.replace("\r\n", "\n").split("\x1b[2K")
    bars = [frame for frame in frames if "events/s" in frame and " 0 in flight" not in frame]
    bar = bars[len(bars) // 2].partition("\r")[0]
    with (work / "terminal").open("w") as nowhere:
        console = Console(record=True, width=_WIDTH, file=nowhere)
        console.print(Text("$ braze-etl run -c demo.yaml", style="bold"))
        console.print(Text.from_ansi(f"{bar}\n\n{report}"))
        console.save_svg(str(file), title="braze-etl", theme=MONOKAI, code_format=_without_downloads())


def _without_downloads() -> str:
    return re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"))
