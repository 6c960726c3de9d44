from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from braze_etl.cli import run_command_line

Answer: TypeAlias = tuple[int, str, str]
Do: TypeAlias = Callable[..., Answer]


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Do:
    """Carries out a command in this process, in an empty folder: exit code, stdout and stderr, as text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAZE_ETL_CONFIG", raising=False)
    monkeypatch.setenv("BRAZE_ETL_LOG_FORMAT", "text")

    def command(*words: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            run_command_line(words)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return command
