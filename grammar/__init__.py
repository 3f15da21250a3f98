"""Text and syntax tree of the schedule language: parsing, mistakes, formatting."""
