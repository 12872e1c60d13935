"""What follows a verdict: gate, ledger, rollback commit, Slack."""
