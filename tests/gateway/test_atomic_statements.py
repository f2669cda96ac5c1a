"""Which statements of a handler would end the transaction that the gateway has begun for it."""

import pytest

from gateway.atomic import TransactionRefused, check_statement


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "  begin immediate",
        "-- done\n/* now * and / here */ commit;",
        "ROLLBACK",
        "prepare \n transaction 'x'",
    ],
)
def test_a_statement_that_begins_or_ends_a_transaction_is_refused(sql: str) -> None:
    with pytest.raises(TransactionRefused, match="is refused, because the route has atomic: true"):
        check_statement(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 -- COMMIT",
        "/* COMMIT */ SELECT 1",
        "ROLLBACK TO SAVEPOINT a",
        "rollback work to a",
        "SAVEPOINT a",
        "",
        "/*",
    ],
)
def test_other_statements_pass(sql: str) -> None:
    check_statement(sql)
