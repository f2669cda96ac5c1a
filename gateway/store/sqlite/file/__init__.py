"""The database file: who has it open, how it is checked and repaired, who writes next."""
