"""What a checked Plan turns into: schedulers, initialisers, batch settings, source files, tables, pictures."""
