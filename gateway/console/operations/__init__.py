"""The operations, a file for each noun. ``gateway.console.table`` lists the files."""
