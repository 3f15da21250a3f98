"""The compiler: from a syntax tree to a checked Plan. Import the modules; this package re-exports nothing."""
