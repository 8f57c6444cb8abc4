"""The command line: one command, `antifraud`, with a verb for each job."""
