"""The probes of the crash test: each file asks one question of a network."""
