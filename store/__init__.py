"""ClickHouse: migrations, writer, queries, and the endpoint over chDB."""
