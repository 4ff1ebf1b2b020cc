"""Moves a business and dies by SIGKILL where it is told to: `python -m … BUSINESS TO|back POINT NTH`."""

import os
import signal
import sys

from sharding.catalogue import Catalogue
from sharding.moving.mover import Mover
from sharding.settings import get_settings


def main(business: str, to: str, point: str, nth: str) -> None:
    left = int(nth)

    def reached(where: str) -> None:
        nonlocal left
        if where == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    dsn = get_settings().control_dsn
    assert dsn is not None
    way = Mover(Catalogue(dsn.get_secret_value()), business, lambda shard: None, chunk_rows=20, reached=reached)
    if to == "back":
        way.roll_back()
    else:
        way.move(to)


if __name__ == "__main__":
    main(*sys.argv[1:])
