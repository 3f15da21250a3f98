"""The standard library: `.sched` files, found through package resources."""
