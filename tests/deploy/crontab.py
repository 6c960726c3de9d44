"""configs/cron/ laid out in a folder as it is on a machine, for tests."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.manifests import CONFIGS

CRON = CONFIGS / "cron"
CRONTAB = CRON / "braze-etl"
SCRIPT = CRON / "braze-etl-cron"
INSTALLED = Path(sys.executable).parent / "braze-etl"
LINE = re.compile(r"^(?P<when>(?:\S+\s+){5})(?P<user>[\w-]+)\s+(?P<command>/.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Machine:
    """Where the pieces are: what /opt, /etc and /var/log are on a real one."""

    folder: Path
    program: Path = INSTALLED

    @property
    def environment(self) -> Path:
        return self.folder / "environment"

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    def install(self, **variables: str) -> None:
        """Write the environment, closed to others, and copy the script."""
        lines = {
            "BRAZE_ETL_PROGRAM": str(self.program),
            "BRAZE_ETL_LOG": str(self.log),
            "BRAZE_ETL_HOME": str(self.folder),
            "BRAZE_ETL_CONFIG": str(self.folder / "config.yaml"),
            **variables,
        }
        self.environment.write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
        self.environment.chmod(0o600)
        shutil.copy(SCRIPT, self.script)

    @property
    def script(self) -> Path:
        return self.folder / "braze-etl-cron"

    def crontab(self, *, user: str) -> str:
        """The crontab of configs/cron/ with the paths of this machine, every minute, for *user*."""
        text = CRONTAB.read_text().replace("/etc/braze-etl/environment", str(self.environment))
        text = re.sub(r"^MAILTO=.*$", 'MAILTO=""', text, flags=re.MULTILINE)
        return LINE.sub(f"* * * * * {user} {self.script}", text)
