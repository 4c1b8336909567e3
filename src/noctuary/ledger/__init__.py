"""The ledger: an append-only, signed account that anybody can verify with a public key."""
