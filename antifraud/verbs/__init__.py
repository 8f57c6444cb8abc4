"""One module for each verb: `TEXT` and `EXAMPLE` for its help, `configure` for its options, `run` for its work."""
