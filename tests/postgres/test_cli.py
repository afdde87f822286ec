"""``perdure store``."""

from __future__ import annotations

from click.testing import CliRunner

from perdure.cli import cli
from tests.support.postgres import new_place


def test_migrate_makes_the_tables_once() -> None:
    place = new_place()
    runner = CliRunner()
    before = runner.invoke(cli, ["store", "status", place])
    assert before.exit_code == 1
    assert "is at version 0" in before.output and "pending 0001 store" in before.output
    made = runner.invoke(cli, ["store", "migrate", place, "--partitions", "1"])
    assert made.exit_code == 0 and made.output.startswith("applied 0001 store")
    again = runner.invoke(cli, ["store", "migrate", place])
    assert again.exit_code == 0 and "is up to date" in again.output
    after = runner.invoke(cli, ["store", "status", place])
    assert after.exit_code == 0 and "pending" not in after.output


def test_the_url_may_come_from_the_environment() -> None:
    result = CliRunner().invoke(cli, ["store", "migrate"], env={"PERDURE_STORE": new_place(partitions=1)})
    assert result.exit_code == 0


def test_what_is_no_database_is_said_in_a_sentence() -> None:
    runner = CliRunner()
    wrong = runner.invoke(cli, ["store", "status", "lmdb:x"])
    assert wrong.exit_code == 2 and "a PostgreSQL home is" in wrong.output
    away = runner.invoke(cli, ["store", "status", "postgresql://u@127.0.0.1:1/db?connect_timeout=1"])
    assert away.exit_code == 1 and "cannot reach postgresql://u@127.0.0.1:1/db" in away.output
