"""larder access: what is printed lets a business in, and never tells the password."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest

from sharding.catalogue import Catalogue
from sharding.settings import Settings
from tests.cli.conftest import Ran


def test_a_business_is_let_in_and_out(
    larder: Callable[..., Ran], catalogue: Catalogue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue.add_business("cafe", "Café", "shard_1", business=1)
    assert larder("access", "list", "--json").json == []
    granted = larder("access", "grant", "cafe", "--json").json
    assert (granted["business"], granted["reads_raw"], granted["workspace_bytes"]) == ("cafe", False, None)
    assert "cafe" not in granted["role"]
    kind, _, place = granted["secret_ref"].partition(":")
    assert kind == "file"
    password = (settings.home / place).read_text().strip()

    shown = larder("access", "grant", "cafe", "--raw")
    assert "reads: bi, raw_<vendor> of cafe" in shown.out and password not in shown.out
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(granted["url"], password="guessed")
    psycopg2.connect(granted["url"], password=password).close()

    monkeypatch.setenv("CAFE_PASSWORD", "new and long enough")
    rotated = larder("access", "rotate", "cafe", "--secret", "env:CAFE_PASSWORD")
    assert "password: env:CAFE_PASSWORD" in rotated.out and "new and long" not in rotated.out
    psycopg2.connect(granted["url"], password="new and long enough").close()

    assert "its role is gone" in larder("access", "revoke", "cafe").out
    assert "it had no role" in larder("access", "revoke", "cafe").out
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(granted["url"], password="new and long enough")
    assert larder("access", "grant", "nobody").code == 2
