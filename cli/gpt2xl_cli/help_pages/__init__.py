"""What --help prints, and the table of commands behind it."""
