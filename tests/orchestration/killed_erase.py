"""Erases a business and dies by SIGKILL where it is told to: `python -m … BUSINESS POINT`."""

import os
import signal
import sys
from pathlib import Path

from orchestration.cycle import Installation
from orchestration.erasing import Eraser
from sharding.settings import get_settings
from sharding.up import open_catalogue


def main(business: str, point: str) -> None:
    def reached(where: str) -> None:
        if where == point:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = get_settings()
    at = Installation.of(settings, open_catalogue(settings), Path.cwd())
    Eraser(at, settings, reached=reached).erase(business)


if __name__ == "__main__":
    main(*sys.argv[1:])
