"""The programs behind the rules, and those typed by hand: `python -m workflow_scripts.<stage> --help`."""
