"""The Django side of the example site: settings, tables, admin and the one page."""
