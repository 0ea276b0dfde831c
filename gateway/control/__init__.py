"""The control process: it takes the ports, starts the workers, replaces those that end, and adds up their metrics."""
